-- Purpose: register an agent under a new epoch, in the place of whoever has its name.
-- KEYS:
--   1 op            string  the caller's lane
--   2 members       hash    name -> epoch|ttl|seen|flags|status|entry
--   3 due           zset    name -> when its heartbeat is overdue, microseconds
--   4 suspects      zset    name -> when it counts as dead, microseconds
--   5 index         set     full keys of all agents, v0's
--   6 capabilities  set     full keys of all sets of capabilities, v0's
--   7 epochs        string  the last epoch
--   8 agent         string  v0's JSON of this agent
--   9 capability    string  v0's JSON of its capabilities
-- ARGV:
--   1 seq           integer  the lane's sequence
--   2 now_us        integer  manual clock in microseconds, or empty for TIME
--   3 name          text     type:instance
--   4 ttl_us        integer  heartbeat TTL, microseconds
--   5 flags         text     d while it is draining, or empty
--   6 status        text     one word
--   7 entry         json     what is stored
--   8 advertised    json     its capabilities, or empty for none
--   9 channel       text     where listeners wait
-- RETURNS:
--   ok epoch|at | stale
-- INVARIANT: epochs only grow, past any clock step, so an old registration never equals a newer one.
-- COST: O(log n).
local MEMBERS, DUE, SUSPECTS, INDEX, CAPABILITIES, EPOCHS = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local AGENT, CAPABILITY, name, ttl, CHANNEL = KEYS[8], KEYS[9], ARGV[3], ARGV[4], ARGV[9]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include member
redis.call('ZCARD', DUE)
redis.call('SCARD', INDEX)
redis.call('SCARD', CAPABILITIES)
local last = tonumber(redis.call('GET', EPOCHS) or '0') or 0
if not (last >= 0 and last < 9007199254740992) then last = 0 end
local _, _, _, _, previous = read_member(name)
local ttl_ms = text(math.max(1, math.floor(tonumber(ttl) / 1000)))
local epoch = text(math.max(now, last + 1))
redis.call('ZREM', SUSPECTS, name)
redis.call('SET', EPOCHS, epoch, 'PX', '604800000')
write_member(name, epoch, ttl, now_text, ARGV[5], ARGV[6], ARGV[7])
redis.call('ZADD', DUE, text(now + tonumber(ttl)), name)
redis.call('SET', AGENT, ARGV[7], 'PX', ttl_ms)
redis.call('SADD', INDEX, AGENT)
if ARGV[8] == '' then
  redis.call('DEL', CAPABILITY)
  redis.call('SREM', CAPABILITIES, CAPABILITY)
else
  redis.call('SET', CAPABILITY, ARGV[8], 'PX', ttl_ms)
  redis.call('SADD', CAPABILITIES, CAPABILITY)
end
tell('registered', name, epoch, now_text, previous or '', ARGV[6])
return remember('ok', epoch .. '|' .. now_text)
