-- Purpose: take a registration away, if it still is the one that is meant.
-- KEYS:
--   1 op            string  the caller's lane
--   2 members       hash    name -> epoch|ttl|seen|flags|status|entry
--   3 due           zset    name -> when its heartbeat is overdue, microseconds
--   4 suspects      zset    name -> when it counts as dead, microseconds
--   5 index         set     full keys of all agents, v0's
--   6 capabilities  set     full keys of all sets of capabilities, v0's
--   7 agent         string  v0's JSON of this agent
--   8 capability    string  v0's JSON of its capabilities
-- ARGV:
--   1 seq      integer  the lane's sequence
--   2 now_us   integer  manual clock in microseconds, or empty for TIME
--   3 name     text     type:instance
--   4 epoch    text     the registration, or empty for whichever it is
--   5 channel  text     where listeners wait
-- RETURNS:
--   ok lines | stale; no line where there was nothing to take away, or a newer registration
-- INVARIANT: a registration is taken away only by its own epoch, or on purpose.
-- COST: O(log n).
local MEMBERS, DUE, SUSPECTS, INDEX, CAPABILITIES = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local AGENT, CAPABILITY, name, CHANNEL = KEYS[7], KEYS[8], ARGV[3], ARGV[5]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include member
redis.call('ZCARD', DUE)
redis.call('ZCARD', SUSPECTS)
redis.call('SCARD', CAPABILITIES)
local epoch, _, seen, _, status = read_member(name)
if ARGV[4] ~= '' and epoch ~= ARGV[4] then return remember('ok', '') end
local v0 = redis.call('SREM', INDEX, AGENT)
if not epoch and v0 == 0 then return remember('ok', '') end
redis.call('DEL', AGENT)
redis.call('DEL', CAPABILITY)
redis.call('SREM', CAPABILITIES, CAPABILITY)
redis.call('HDEL', MEMBERS, name)
redis.call('ZREM', DUE, name)
redis.call('ZREM', SUSPECTS, name)
tell('deregistered', name, epoch or '0', seen or now_text, status or '', status or '')
return remember('ok', lines[1])
