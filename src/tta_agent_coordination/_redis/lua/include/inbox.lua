-- Include: inbox. Needs entry, HIGH, NORMAL, LOW, RESERVED, INFLIGHT, LAPSES, CLOCK, QUEUE.
local function sched_of(level)
  if level == '9' then return HIGH elseif level == '1' then return LOW end
  return NORMAL
end

-- inflight keeps what a reservation must give back: level|score|nonce|owner|deliveries.
local function read_note(token)
  local level, score, deliveries =
    string.match(redis.call('HGET', INFLIGHT, token) or '', '^(%d+)|(%d+)|[^|]*|[^|]*|(%d+)$')
  return level, tonumber(score), tonumber(deliveries)
end

-- lapses keeps, only for what came back: expired leases|deliveries.
local function read_lapses(id)
  local lapses, deliveries = string.match(redis.call('HGET', LAPSES, id) or '', '^(%d+)|(%d+)$')
  return tonumber(lapses) or 0, tonumber(deliveries) or 0
end

-- An empty inbox keeps no side keys. Asked after the work is done, so a damaged key must not fail it.
local function tidy()
  if redis.pcall('HLEN', RESERVED) == 0 and redis.pcall('ZCARD', HIGH) == 0
    and redis.pcall('ZCARD', NORMAL) == 0 and redis.pcall('ZCARD', LOW) == 0 then
    redis.call('DEL', CLOCK, LAPSES, INFLIGHT)
  end
end

-- The look at both ends comes first: a full LREM is paid only for what left the order.
local function drop_audit(entry)
  if redis.call('LINDEX', QUEUE, 0) == entry then
    redis.call('LPOP', QUEUE)
  elseif redis.call('LPOS', QUEUE, entry, 'RANK', -1, 'MAXLEN', 256) then
    redis.call('LREM', QUEUE, -1, entry)
  else
    redis.call('LREM', QUEUE, 1, entry)
  end
end
