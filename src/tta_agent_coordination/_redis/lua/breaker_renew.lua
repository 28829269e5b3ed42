-- Purpose: keep a probe's slot while its call is still running.
-- KEYS:
--   1 shared  hash  state, generation, since, successes
--   2 probes  zset  probe -> lease deadline, microseconds
-- ARGV:
--   1 probe       text     names the call
--   2 now_us      integer  manual clock in microseconds, or empty for TIME
--   3 generation  integer  the half-open period it was granted in
--   4 lease_us    integer  how long the slot is kept from now, microseconds
-- RETURNS:
--   held deadline | lost
-- INVARIANT: a slot that lapsed is not taken back: somebody else may have it.
-- COST: O(log n) in the slots.
local SHARED, PROBES, probe = KEYS[1], KEYS[2], ARGV[1]
-- @include time
local generation = tonumber(redis.call('HGET', SHARED, 'generation') or '0')
local before = tonumber(redis.call('ZSCORE', PROBES, probe) or '0')
if generation ~= tonumber(ARGV[3]) or before <= now then return {'lost', ''} end
local deadline = math.max(before, now + tonumber(ARGV[4]))
-- The ZREM comes first so that a full server cannot refuse the ZADD.
redis.call('ZREM', PROBES, probe)
redis.call('ZADD', PROBES, text(deadline), probe)
return {'held', text(deadline)}
