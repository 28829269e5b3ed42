-- Purpose: read one page of the registered agents.
-- KEYS:
--   1 members  hash    name -> epoch|ttl|seen|flags|status|entry
--   2 pause    string  until when deaths are held back, microseconds
-- ARGV:
--   1 cursor  integer  0 to begin, then what the page before said
--   2 now_us  integer  manual clock in microseconds, or empty for TIME
--   3 brief   flag     1 leaves the entries out
-- RETURNS:
--   ok cursor now pause name member name member ...
-- INVARIANT: writes nothing; an agent registered all the time is on one page or more.
-- COST: O(1) a call, about 150 agents each.
local MEMBERS, PAUSE = KEYS[1], KEYS[2]
-- @include time
local found = redis.call('HSCAN', MEMBERS, ARGV[1], 'COUNT', 150)
local page = {'ok', found[1], now_text, redis.call('GET', PAUSE) or '0'}
for i = 1, #found[2], 2 do
  local member = found[2][i + 1]
  page[#page + 1] = found[2][i]
  page[#page + 1] = ARGV[3] == '1' and string.match(member, '^%d+|%d+|%d+|%a*|[^|]*|') or member
end
return page
