-- Purpose: give a reservation back uncounted, to the place it had.
-- KEYS:
--   1 op         string  the caller's lane
--   2 reserved   hash    token -> entry
--   3 deadlines  zset    token -> lease deadline, microseconds
--   4 inflight   hash    token -> level|score|nonce|owner|deliveries
--   5 lapses     hash    id -> expired leases|deliveries
--   6 clock      string  last score of the inbox
--   7 high       zset    entry -> available at, microseconds
--   8 normal     zset    entry -> available at, microseconds
--   9 low        zset    entry -> available at, microseconds
--  10 queue      list    audit copies
--  11 wake       zset    one marker: somebody who waits may look
-- ARGV:
--   1 seq     integer  the lane's sequence
--   2 now_us  integer  manual clock in microseconds, or empty for TIME
--   3 audit   flag     1 keeps the audit list
--   4 token   text     the reservation
-- RETURNS:
--   ok | lost | stale
-- INVARIANT: the first write is the HDEL, which cannot be refused; neither attempts nor expiries grow.
-- COST: O(log n).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, WAKE = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local AUDIT, token = ARGV[3], ARGV[4]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include inbox
-- @include settle
-- @include score
-- @include next
local held = hold(token)
if not held then return remember('lost', '') end
local sched = sched_of(held.level)
redis.call('ZCARD', sched)
local lapses = read_lapses(held.id)
local score = held.score or next_score()
end_reservation(token)
redis.call('ZADD', sched, text(score), held.entry)
redis.call('HSET', LAPSES, held.id, lapses .. '|' .. held.deliveries)
if not held.score then redis.call('SET', CLOCK, text(last_score)) end
-- @include wake
return remember('ok', '')
