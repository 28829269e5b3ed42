-- Purpose: ask for one of the slots in which a call may try whether the other side is back.
-- KEYS:
--   1 shared  hash    state, generation, since, successes
--   2 probes  zset    probe -> lease deadline, microseconds
--   3 mirror  string  v0's JSON
-- ARGV:
--   1 probe         text     names this call
--   2 now_us        integer  manual clock in microseconds, or empty for TIME
--   3 open_us       integer  how long it stays open, microseconds
--   4 half_open_us  integer  longest half-open without a verdict, microseconds
--   5 lease_us      integer  how long a slot is kept unless renewed, microseconds
--   6 slots         integer  probes under way at once
--   7 budget        integer  probes of a period under way or successful, together
--   8 name          text     the breaker, told to listeners
--   9 channel       text     where listeners wait
--  10 ttl_ms        integer  how long the record is kept, milliseconds
-- RETURNS:
--   granted record | busy record | open record | closed record
-- INVARIANT: never more than `slots` leases; a probe that asks again keeps the slot it has.
-- COST: O(log n) in the slots.
local SHARED, PROBES, MIRROR, NAME, CHANNEL, TTL_MS = KEYS[1], KEYS[2], KEYS[3], ARGV[8], ARGV[9], ARGV[10]
local probe, slots, budget = ARGV[1], tonumber(ARGV[6]), tonumber(ARGV[7])
-- @include time
-- @include breaker
if state == 'closed' then return answer('closed') end
-- A change that is still to come was made by a clock that has been set back since.
if since > now then
  redis.call('HDEL', SHARED, 'since')
  redis.call('HSET', SHARED, 'since', text(now))
  since = now
end
local lapse = since + tonumber(ARGV[4])
if state == 'half_open' and now >= lapse then become('open', lapse) end
if state == 'open' then
  if now < since + tonumber(ARGV[3]) then return answer('open') end
  become('half_open', now)
end
redis.call('ZREMRANGEBYSCORE', PROBES, '-inf', text(now))
if redis.call('ZSCORE', PROBES, probe) then return answer('granted') end
local held = redis.call('ZCARD', PROBES)
if held >= slots or held + successes >= budget then return answer('busy') end
redis.call('ZADD', PROBES, text(now + tonumber(ARGV[5])), probe)
redis.call('PEXPIRE', PROBES, TTL_MS)
return answer('granted')
