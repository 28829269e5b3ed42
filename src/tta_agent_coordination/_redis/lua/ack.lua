-- Purpose: end a reservation for good.
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
-- ARGV:
--   1 seq     integer  the lane's sequence
--   2 now_us  integer  not read: an ack is as good after the deadline as before
--   3 audit   flag     1 keeps the audit list
--   4 token   text     the reservation
-- RETURNS:
--   ok | lost | stale
-- INVARIANT: the first write is the HDEL, which cannot be refused; the side keys go with the last message.
-- COST: O(log n); with audit O(position in the audit list).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local AUDIT, token = ARGV[3], ARGV[4]
-- @include lane
if lane_answer then return recall() end
-- @include entry
-- @include inbox
-- @include settle
local held = hold(token)
if not held then return remember('lost', '') end
end_reservation(token)
if held.returned then redis.call('HDEL', LAPSES, held.id) end
if AUDIT == '1' then drop_audit(held.entry) end
tidy()
return remember('ok', '')
