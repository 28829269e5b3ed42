-- Purpose: look through one page of an inbox for entries that contain a text.
-- KEYS:
--   1 place      mixed  a level (zset), the reservations (hash) or the dead letters (list)
--   2 companion  mixed  the deadlines (zset) for reservations, dlq_info (hash) for dead letters, else the level
-- ARGV:
--   1 kind    text     level, reserved or dead
--   2 cursor  text     where to go on: a position, or HSCAN's cursor for reservations; 0 begins
--   3 needle  text     what the entry contains, searched as plain text
-- RETURNS:
--   ok next_cursor entry name detail ... with next_cursor 0 at the end; name is the token of a reservation,
--   detail the score, the deadline or cause|time
-- INVARIANT: nothing is written.
-- COST: O(1000 entries or 256 KiB) a page.
-- @include entry
local kind, cursor, needle = ARGV[1], ARGV[2], ARGV[3]
local page = {'ok', '0'}
local function look(entry, name, detail)
  if string.find(entry, needle, 1, true) then
    page[#page + 1] = entry
    page[#page + 1] = name
    page[#page + 1] = detail
  end
end

if kind == 'reserved' then
  local scan = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 100)
  page[2] = scan[1]
  for i = 1, #scan[2], 2 do
    look(scan[2][i + 1], scan[2][i], redis.call('ZSCORE', KEYS[2], scan[2][i]) or '')
  end
  return page
end

local start, bytes, seen = tonumber(cursor), 0, 0
while seen < 1000 and bytes < 262144 do
  local step, entries
  if kind == 'level' then
    step, entries = 2, redis.call('ZRANGE', KEYS[1], start, start + 15, 'WITHSCORES')
  else
    step, entries = 1, redis.call('LRANGE', KEYS[1], start, start + 15)
  end
  for i = 1, #entries, step do
    look(entries[i], '', step == 2 and entries[i + 1] or redis.call('HGET', KEYS[2], entry_id(entries[i])) or '')
    bytes, seen = bytes + #entries[i], seen + 1
  end
  start = start + #entries / step
  if #entries < 16 * step then return page end
end
page[2] = string.format('%.0f', start)
return page
