-- Purpose: end the leases that a dead registration took and never renewed.
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
--   5 owner           integer  epoch of the dead registration
--   6 from            integer  rank among the leases to begin at
-- RETURNS:
--   ok requeued|dead|next | stale
--   (next: the rank to go on at, -1 where all were looked at)
-- INVARIANT: a lease whose deadline moved was renewed by somebody alive, and is left to run out; the others end
--   as if they had: the original place or the DLQ, one expiry counted.
-- COST: O(log n) a lease, at most 500 looked at and 100 ended.
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local WAKE = KEYS[13]
local AUDIT, MAX_DELIVERIES, from = ARGV[3], ARGV[4], tonumber(ARGV[6])
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
local page = redis.call('ZRANGE', DEADLINES, from, from + 499, 'WITHSCORES')
local tokens, seen = {}, 0
for i = 1, #page, 2 do
  local note = redis.call('HGET', INFLIGHT, page[i]) or ''
  local owner, first = string.match(note, '^%d+|%d+|[^|]*|(%d+)@(%d+)|%d+$')
  seen = seen + 1
  if owner == ARGV[5] and tonumber(first) == tonumber(page[i + 1]) then tokens[#tokens + 1] = page[i] end
  if #tokens == 100 then break end
end
local back, dead = 0, 0
if tokens[1] then back, dead = reap(tokens) end
if back > 0 then
-- @include wake
end
if dead > 0 then tidy() end
local following = -1
if seen == 500 or #tokens == 100 then following = from + seen - #tokens end
return remember('ok', back .. '|' .. dead .. '|' .. following)
