-- Purpose: look at what v0's index names and has no key, and at keys that it does not name; mend those named for it.
-- KEYS:
--   1 op         string  the caller's lane
--   2 members    hash    name -> epoch|ttl|seen|flags|status|entry
--   3 index      set     full keys of all agents, or of all sets of capabilities, v0's
--   4... agents  mixed   v0's JSON of each, or of its capabilities
-- ARGV:
--   1 seq        integer  the lane's sequence
--   2... pair    mixed    for each key: the agent's name, type:instance, and the mark that is to be mended, - for none
-- RETURNS:
--   ok marks | stale; a mark a key: i is in the index and gone, n is there and not in the index, - is as it should be
-- INVARIANT: who is a member, or has a key, stays in the index.
-- COST: O(m), at most 500 keys.
local MEMBERS, INDEX = KEYS[2], KEYS[3]
-- @include lane
if lane_answer then return lane_answer end
local marks = {}
for i = 4, #KEYS do
  local key, name, wanted, mark = KEYS[i], ARGV[2 * i - 6], ARGV[2 * i - 5], '-'
  local listed = redis.call('SISMEMBER', INDEX, key) == 1
  local there = redis.call('EXISTS', key) == 1
  if listed and not there and redis.call('HEXISTS', MEMBERS, name) == 0 then
    mark = 'i'
    if wanted == mark then redis.call('SREM', INDEX, key) end
  elseif there and not listed then
    mark = 'n'
    if wanted == mark then redis.call('SADD', INDEX, key) end
  end
  marks[#marks + 1] = mark
end
return remember('ok', table.concat(marks))
