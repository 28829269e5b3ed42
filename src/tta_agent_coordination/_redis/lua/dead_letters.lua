-- Purpose: read one page of the dead letters with their causes.
-- KEYS:
--   1 dlq       list  dead entries
--   2 dlq_info  hash  id -> cause|time
-- ARGV:
--   1 start  integer  position of the first letter
--   2 count  integer  most letters on the page, 1000
-- RETURNS:
--   ok next entry info entry info ... with next -1 at the end
-- INVARIANT: nothing is written.
-- COST: O(count), and no more than about 256 KiB of letters a page.
-- @include entry
local page, bytes = {'ok', '-1'}, 0
local start, stop = tonumber(ARGV[1]), tonumber(ARGV[1]) + tonumber(ARGV[2]) - 1
while start <= stop and bytes < 262144 do
  local entries = redis.call('LRANGE', KEYS[1], start, start + 15)
  for _, entry in ipairs(entries) do
    page[#page + 1] = entry
    page[#page + 1] = redis.call('HGET', KEYS[2], entry_id(entry)) or ''
    bytes = bytes + #entry
  end
  start = start + #entries
  if #entries < 16 then return page end
end
page[2] = string.format('%.0f', start)
return page
