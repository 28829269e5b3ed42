-- Purpose: look at reservations without a deadline and deadlines without a reservation, and mend those named for it.
-- KEYS:
--   1 op         string  the caller's lane
--   2 reserved   hash    token -> entry
--   3 deadlines  zset    token -> lease deadline, microseconds
--   4 inflight   hash    token -> level|score|nonce|owner|deliveries
--   5 lapses     hash    id -> expired leases|deliveries
--   6 high       zset    entry -> available at, microseconds
--   7 normal     zset    entry -> available at, microseconds
--   8 low        zset    entry -> available at, microseconds
--   9 queue      list    audit copies
--  10 dlq        list    dead entries
--  11 dlq_info   hash    id -> cause|time
-- ARGV:
--   1 seq        integer  the lane's sequence
--   2 now_us     integer  manual clock in microseconds, or empty for TIME
--   3... pair    mixed    for each reservation: its token; then 1 or 0, whether the caller could read its entry, and the
--                         mark that is to be mended, - for none
-- RETURNS:
--   ok marks | stale; a mark a token: u has no deadline, d has nothing else, - is as it should be
-- INVARIANT: an entry leaves reserved in the step that puts it into its level or the DLQ; attempts do not grow.
-- COST: O(log n) a token, at most 100; mending an unreadable one also O(position in the audit list).
local RESERVED, DEADLINES, INFLIGHT, LAPSES = KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local AUDIT = '1'
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include inbox
-- @include audit
-- @include dead
check_dead_letter_keys()
check_levels()
local marks = {}
for i = 3, #ARGV, 2 do
  local token = ARGV[i]
  local readable, wanted = string.match(ARGV[i + 1], '(.)(.)')
  local entry, deadline = redis.call('HGET', RESERVED, token), redis.call('ZSCORE', DEADLINES, token)
  local mark = '-'
  if entry and not deadline then mark = 'u' elseif deadline and not entry then mark = 'd' end
  if mark == 'd' and wanted == mark then
    redis.call('ZREM', DEADLINES, token)
  elseif mark == 'u' and wanted == mark then
    local level, score = read_note(token)
    redis.call('HDEL', RESERVED, token)
    redis.call('HDEL', INFLIGHT, token)
    if readable == '1' then
      redis.call('ZADD', sched_of(level or level_of(entry)), text(score or now), entry)
    else
      -- Back in its level it would stop every v0 consumer.
      bury(entry, entry_id(entry), 'undecodable')
    end
  end
  marks[#marks + 1] = mark
end
return remember('ok', table.concat(marks))
