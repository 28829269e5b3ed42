-- Purpose: end at most 100 expired leases of one inbox.
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
--  11 dlq        list    dead entries
--  12 dlq_info   hash    id -> cause|time
--  13 wake       zset    one marker: somebody who waits may look
-- ARGV:
--   1 seq             integer  the lane's sequence
--   2 now_us          integer  manual clock in microseconds, or empty for TIME
--   3 audit           flag     1 keeps the audit list
--   4 max_deliveries  integer  expired leases until a message is poison
-- RETURNS:
--   ok requeued|dead|seen | stale
-- INVARIANT: each entry goes back to its original place or to the DLQ, with one expiry counted.
-- COST: O(log n) a lease, at most 100 leases.
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local WAKE = KEYS[13]
local AUDIT, MAX_DELIVERIES = ARGV[3], ARGV[4]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include inbox
-- @include tidy
-- @include audit
-- @include score
-- @include next
-- @include dead
-- @include reap
local tokens = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_text, 'LIMIT', 0, 100)
local back, dead, seen = 0, 0, #tokens
if seen > 0 then back, dead = reap(tokens) end
if back > 0 then
-- @include wake
end
if dead > 0 then tidy() end
return remember('ok', back .. '|' .. dead .. '|' .. seen)
