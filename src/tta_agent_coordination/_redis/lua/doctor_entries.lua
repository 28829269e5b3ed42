-- Purpose: look at entries whose audit copies are too many or too few, or that nobody can read; mend those named for it.
-- KEYS:
--   1 op        string  the caller's lane
--   2 reserved  hash    token -> entry
--   3 lapses    hash    id -> expired leases|deliveries
--   4 high      zset    entry -> available at, microseconds
--   5 normal    zset    entry -> available at, microseconds
--   6 low       zset    entry -> available at, microseconds
--   7 queue     list    audit copies
--   8 dlq       list    dead entries
--   9 dlq_info  hash    id -> cause|time
-- ARGV:
--   1 seq      integer  the lane's sequence
--   2 now_us   integer  manual clock in microseconds, or empty for TIME
--   3... pair  mixed    for each entry: its text; then 1 or 0, whether the caller could read it, and the mark that is to
--                       be mended, - for none
-- RETURNS:
--   ok marks | stale; a mark an entry: g has audit copies and no other place, e more copies than places, m a place
--   and no copy, b stands in a level and cannot be read, - is as it should be
-- INVARIANT: the last copy of a text is never deleted: a ghost becomes a dead letter in the step that takes it away.
-- COST: O(audit list + reservations) a call, at most 100 entries; O(audit list + DLQ) for each that is mended.
local RESERVED, LAPSES = KEYS[2], KEYS[3]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local AUDIT = '1'
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include audit
-- @include dead
check_dead_letter_keys()

-- Everything that is reserved and listed is counted in this moment: what the caller saw may have moved on.
local held, copies = {}, {}
for i = 3, #ARGV, 2 do held[ARGV[i]], copies[ARGV[i]] = 0, 0 end
local cursor = '0'
repeat
  local page = redis.call('HSCAN', RESERVED, cursor, 'COUNT', 1000)
  cursor = page[1]
  for i = 2, #page[2], 2 do
    local entry = page[2][i]
    if held[entry] then held[entry] = held[entry] + 1 end
  end
until cursor == '0'
for start = 0, redis.call('LLEN', QUEUE) - 1, 1000 do
  for _, entry in ipairs(redis.call('LRANGE', QUEUE, start, start + 999)) do
    if copies[entry] then copies[entry] = copies[entry] + 1 end
  end
end

local marks = {}
for i = 3, #ARGV, 2 do
  local entry, mark = ARGV[i], '-'
  local readable, wanted = string.match(ARGV[i + 1], '(.)(.)')
  local listed, places = copies[entry], held[entry]
  local waiting = 0
  for _, sched in ipairs({HIGH, NORMAL, LOW}) do
    if redis.call('ZSCORE', sched, entry) then waiting = waiting + 1 end
  end
  places = places + waiting
  if waiting > 0 and held[entry] == 0 and readable ~= '1' then
    mark = 'b'
  elseif listed > 0 and places == 0 then
    mark = 'g'
  elseif listed > places then
    mark = 'e'
  elseif listed == 0 and places > 0 then
    mark = 'm'
  end
  if mark == 'b' and wanted == mark then
    for _, sched in ipairs({HIGH, NORMAL, LOW}) do redis.call('ZREM', sched, entry) end
    bury(entry, entry_id(entry), 'undecodable')
  elseif mark == 'g' and wanted == mark then
    -- Nobody can tell whether it was handled, never accepted, or lost between two steps: a person can.
    redis.call('LREM', QUEUE, listed, entry)
    if not redis.call('LPOS', DLQ, entry) then
      redis.call('RPUSH', DLQ, entry)
      redis.call('HSET', DLQ_INFO, entry_id(entry), 'ghost|' .. text(now))
    end
    redis.call('HDEL', LAPSES, entry_id(entry))
  elseif mark == 'e' and wanted == mark then
    redis.call('LREM', QUEUE, places - listed, entry)
  elseif mark == 'm' and wanted == mark then
    redis.call('RPUSH', QUEUE, entry)
  end
  marks[#marks + 1] = mark
end
return remember('ok', table.concat(marks))
