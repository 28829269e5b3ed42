-- Include: lapse. Needs time, member, DUE, SUSPECTS, INDEX, CAPABILITIES, PAUSE, PREFIX, TTL_US.
-- Lapsed agents become suspect, then die; each step happens once, whoever takes it. At most 200 of each a call;
-- answers whether there is more to do.
local function lapse()
  local ttl = tonumber(TTL_US)
  local late = redis.call('ZRANGEBYSCORE', DUE, '-inf', now_text, 'WITHSCORES', 'LIMIT', 0, 200)
  for i = 1, #late, 2 do
    local name, due = late[i], tonumber(late[i + 1])
    local epoch, its_ttl, seen, flags, status, entry = read_member(name)
    redis.call('ZREM', DUE, name)
    if epoch then
      local span = tonumber(its_ttl)
      redis.call('ZADD', SUSPECTS, text(math.max(due + span, now + math.floor(span / 2))), name)
      write_member(name, epoch, its_ttl, seen, 's' .. flags, status, entry)
      tell('suspect', name, epoch, seen, status, status)
    end
  end
  local dead = redis.call('ZRANGEBYSCORE', SUSPECTS, '-inf', now_text, 'LIMIT', 0, 200)
  local lapsed = redis.call('ZCARD', SUSPECTS) + redis.call('ZCOUNT', DUE, '-inf', now_text)
  local total = redis.call('ZCARD', SUSPECTS) + redis.call('ZCARD', DUE)
  local more = #late == 400
  local pause = redis.pcall('GET', PAUSE)
  pause = type(pause) == 'string' and tonumber(pause)
  if total < 20 or 2 * lapsed < total then
    if pause then redis.call('DEL', PAUSE) end
  elseif #dead > 0 then
    -- So many at once: the store stood still, or the way to it. The pause is remembered past its end, so that
    -- it comes once for one lapse.
    if not pause then
      pause = now + 2 * ttl
      redis.call('SET', PAUSE, text(pause), 'PX', text(math.max(1, math.floor(20 * ttl / 1000))))
      tell('expiry_paused', '', '0', now_text, text(total), text(lapsed))
    end
    if now < pause then return more end
  end
  for _, name in ipairs(dead) do
    local epoch, _, seen, flags, status = read_member(name)
    redis.call('ZREM', SUSPECTS, name)
    redis.call('HDEL', MEMBERS, name)
    redis.call('SREM', INDEX, PREFIX .. ':agents:' .. name)
    redis.call('SREM', CAPABILITIES, PREFIX .. ':capabilities:' .. name)
    if epoch then tell('died', name, epoch, seen, status, status) end
  end
  return more or #dead == 200
end
