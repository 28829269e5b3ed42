-- Purpose: take from v0's index what no process renews any more.
-- KEYS:
--   1 op           string  the caller's lane
--   2 members      hash    name -> epoch|ttl|seen|flags|status|entry
--   3 index        set     full keys of all agents, v0's
--   4... agents    mixed   v0's JSON of agents that the caller has missed before
-- ARGV:
--   1 seq      integer  the lane's sequence
--   2... name  text     their names, type:instance
-- RETURNS:
--   ok count | stale
-- INVARIANT: who is a member, or has a key, stays.
-- COST: O(m), at most 1,000 keys.
local MEMBERS, INDEX = KEYS[2], KEYS[3]
-- @include lane
if lane_answer then return lane_answer end
local removed = 0
for i = 4, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 and redis.call('HEXISTS', MEMBERS, ARGV[i - 2]) == 0 then
    removed = removed + redis.call('SREM', INDEX, KEYS[i])
  end
end
return remember('ok', removed)
