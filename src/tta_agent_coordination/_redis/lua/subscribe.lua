-- Purpose: add message types to an agent's subscriptions.
-- KEYS:
--   1 op    string  the caller's lane
--   2 subs  set     message types
-- ARGV:
--   1 seq       integer  the lane's sequence
--   2... types  text     message types, at least one
-- RETURNS:
--   ok added | stale
-- INVARIANT: the indexes were written before, so no subscription is out of sight.
-- COST: O(number of types).
-- @include lane
if lane_answer then return lane_answer end
local added = redis.call('SADD', KEYS[2], unpack(ARGV, 2))
return remember('ok', added)
