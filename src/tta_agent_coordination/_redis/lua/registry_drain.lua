-- Purpose: say that an agent takes nothing new, or takes it again.
-- KEYS:
--   1 op       string  the caller's lane
--   2 members  hash    name -> epoch|ttl|seen|flags|status|entry
-- ARGV:
--   1 seq       integer  the lane's sequence
--   2 now_us    integer  manual clock in microseconds, or empty for TIME
--   3 name      text     type:instance
--   4 epoch     text     the registration
--   5 draining  flag     1 while it drains
--   6 channel   text     where listeners wait
-- RETURNS:
--   ok lines | lost | stale
-- INVARIANT: only the newest registration of a name is written; what changes nothing is told to nobody.
-- COST: O(1).
local MEMBERS, CHANNEL = KEYS[2], ARGV[6]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include member
local epoch, ttl, seen, flags, status, entry = read_member(ARGV[3])
if epoch ~= ARGV[4] then return remember('lost', '') end
local suspect = string.find(flags, 's', 1, true) and 's' or ''
local after = suspect .. (ARGV[5] == '1' and 'd' or '')
if after ~= flags then
  write_member(ARGV[3], epoch, ttl, seen, after, status, entry)
  tell(ARGV[5] == '1' and 'draining' or 'undrained', ARGV[3], epoch, seen, status, status)
end
return remember('ok', lines[1] or '')
