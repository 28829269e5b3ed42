-- Purpose: take message types from an agent's subscriptions.
-- KEYS:
--   1 op    string  the caller's lane
--   2 subs  set     message types
-- ARGV:
--   1 seq       integer  the lane's sequence
--   2... types  text     message types; none for all
-- RETURNS:
--   ok removed | stale
-- INVARIANT: broadcast reads this set, so what is not in it gets nothing.
-- COST: O(number of types).
-- @include lane
if lane_answer then return lane_answer end
local removed = redis.call('SCARD', KEYS[2])
if #ARGV == 1 then
  redis.call('DEL', KEYS[2])
else
  removed = redis.call('SREM', KEYS[2], unpack(ARGV, 2))
end
return remember('ok', removed)
