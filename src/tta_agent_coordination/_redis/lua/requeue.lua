-- Purpose: send dead letters again, as new messages at the back.
-- KEYS:
--   1 op        string  the caller's lane
--   2 reserved  hash    token -> entry, counted
--   3 clock     string  last score of the inbox
--   4 high      zset    entry -> available at, microseconds
--   5 normal    zset    entry -> available at, microseconds
--   6 low       zset    entry -> available at, microseconds
--   7 queue     list    audit copies
--   8 dlq       list    dead entries
--   9 dlq_info  hash    id -> cause|time
--  10 wake      zset    one marker: somebody who waits may look
-- ARGV:
--   1 seq         integer  the lane's sequence
--   2 now_us      integer  manual clock in microseconds, or empty for TIME
--   3 audit       flag     1 keeps the audit list
--   4 limit       integer  most messages the inbox may hold
--   5... letters  mixed    three arguments a letter: dead entry, level, new entry; at most 100 letters
-- RETURNS:
--   ok requeued | full requeued | stale
-- INVARIANT: only what the LREM really took out of the DLQ is sent, so no letter is sent twice.
-- COST: O(length of the DLQ) a letter.
local RESERVED, CLOCK, HIGH, NORMAL, LOW, QUEUE = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local DLQ, DLQ_INFO, WAKE = KEYS[8], KEYS[9], KEYS[10]
local AUDIT, limit = ARGV[3], tonumber(ARGV[4])
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include score
-- @include next
local depth = redis.call('HLEN', RESERVED) + redis.call('ZCARD', HIGH) + redis.call('ZCARD', NORMAL)
  + redis.call('ZCARD', LOW)
redis.call('LLEN', DLQ)
redis.call('HLEN', DLQ_INFO)
if AUDIT == '1' then redis.call('LLEN', QUEUE) end

local requeued, status = 0, 'ok'
for i = 5, #ARGV, 3 do
  local entry, level, fresh = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if depth >= limit then
    status = 'full'
    break
  end
  if redis.call('LREM', DLQ, 1, entry) == 1 then
    redis.call('HDEL', DLQ_INFO, entry_id(entry))
    local sched = level == '9' and HIGH or level == '1' and LOW or NORMAL
    redis.call('ZADD', sched, text(next_score()), fresh)
    if AUDIT == '1' then redis.call('RPUSH', QUEUE, fresh) end
    requeued, depth = requeued + 1, depth + 1
  end
end
if requeued > 0 then
  redis.call('SET', CLOCK, text(last_score))
-- @include wake
end
if redis.call('LLEN', DLQ) == 0 then redis.call('DEL', DLQ_INFO) end
return remember(status, requeued)
