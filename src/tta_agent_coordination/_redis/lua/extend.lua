-- Purpose: move the end of a lease to a later time.
-- KEYS:
--   1 op         string  the caller's lane
--   2 reserved   hash    token -> entry
--   3 deadlines  zset    token -> lease deadline, microseconds
-- ARGV:
--   1 seq       integer  the lane's sequence
--   2 now_us    integer  manual clock in microseconds, or empty for TIME
--   3 token     text     the reservation
--   4 lease_us  integer  length of the lease from now, microseconds
-- RETURNS:
--   ok deadline | lost | stale
-- INVARIANT: a lease is never shortened; the ZREM comes first so that a full server cannot refuse the ZADD.
-- COST: O(log n).
local RESERVED, DEADLINES, token = KEYS[2], KEYS[3], ARGV[3]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
local before = tonumber(redis.call('ZSCORE', DEADLINES, token) or '0')
if redis.call('HEXISTS', RESERVED, token) == 0 then return remember('lost', '') end
local deadline = text(math.max(before, now + tonumber(ARGV[4])))
redis.call('ZREM', DEADLINES, token)
redis.call('ZADD', DEADLINES, deadline, token)
return remember('ok', deadline)
