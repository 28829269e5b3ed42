-- Purpose: take the heartbeats of many agents, and take away who has stopped.
-- KEYS:
--   1 op            string  the caller's lane
--   2 members       hash    name -> epoch|ttl|seen|flags|status|entry
--   3 due           zset    name -> when its heartbeat is overdue, microseconds
--   4 suspects      zset    name -> when it counts as dead, microseconds
--   5 index         set     full keys of all agents, v0's
--   6 capabilities  set     full keys of all sets of capabilities, v0's
--   7 pause         string  until when deaths are held back, microseconds
--   8... agents     mixed   v0's JSON of each agent, and of its capabilities where it has some
-- ARGV:
--   1 seq      integer  the lane's sequence
--   2 now_us   integer  manual clock in microseconds, or empty for TIME
--   3 ttl_us   integer  heartbeat TTL, microseconds
--   4 sweep    flag     1 also takes away who has stopped
--   5 channel  text     where listeners wait
--   6 prefix   text     begins v0's keys
--   7... beat  mixed    for each agent: name, epoch, status, entry, capabilities or empty
-- RETURNS:
--   ok lines | again lines | stale; a line is gone|name, superseded|name, or an event; again: sweep once more
-- INVARIANT: only the newest registration of a name is written; each death is told once.
-- COST: O(m log n), at most 1,000 agents; at most 200 lapses and 200 deaths.
local MEMBERS, DUE, SUSPECTS, INDEX = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local CAPABILITIES, PAUSE, TTL_US, CHANNEL, PREFIX = KEYS[6], KEYS[7], ARGV[3], ARGV[5], ARGV[6]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include member
-- @include lapse
redis.call('ZCARD', SUSPECTS)
redis.call('SCARD', INDEX)
redis.call('SCARD', CAPABILITIES)
-- A deletion comes first: it is never refused, and lets heartbeats pass at maxmemory. No name holds a line's end.
redis.call('ZREM', DUE, '\n')
local due = text(now + tonumber(TTL_US))
local ttl_ms = text(math.max(1, math.floor(tonumber(TTL_US) / 1000)))
local seen, key = '|' .. TTL_US .. '|' .. now_text .. '|', 8
for i = 7, #ARGV, 5 do
  local name, mine, status, entry, advertised = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local agent, capability = KEYS[key], KEYS[key + 1]
  key = key + (advertised == '' and 1 or 2)
  -- The stored entry is not taken apart: it is about to be replaced.
  local held = redis.call('HGET', MEMBERS, name)
  local epoch, flags, before
  if held then epoch, flags, before = string.match(held, '^(%d+)|%d+|%d+|(%a*)|([^|]*)|') end
  if not epoch then
    lines[#lines + 1] = 'gone|' .. name
  elseif epoch ~= mine then
    -- An older one is what a failover, or a restart with older data, brought back: ours had its place already.
    lines[#lines + 1] = (tonumber(epoch) < tonumber(mine) and 'gone|' or 'superseded|') .. name
  else
    if flags ~= '' and flags ~= 'd' then
      flags = flags == 'sd' and 'd' or ''
      redis.call('ZREM', SUSPECTS, name)
      tell('recovered', name, epoch, now_text, before, status)
    end
    redis.call('ZADD', DUE, due, name)
    redis.call('HSET', MEMBERS, name,
      epoch .. seen .. flags .. '|' .. status .. '|' .. entry)
    redis.call('SET', agent, entry, 'PX', ttl_ms)
    if advertised ~= '' then
      redis.call('SET', capability, advertised, 'PX', ttl_ms)
      redis.call('SADD', CAPABILITIES, capability)
    end
    if before ~= status then tell('status_changed', name, epoch, now_text, before, status) end
  end
end
local more = ARGV[4] == '1' and lapse()
return remember(more and 'again' or 'ok', table.concat(lines, '\n'))
