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
--  11 wake       zset    one marker: somebody who waits may look
-- ARGV:
--   1 seq     integer  the lane's sequence
--   2 now_us  integer  not read: an ack is as good after the deadline as before
--   3 audit   flag     1 keeps the audit list
--   4 token   text     the reservation
-- RETURNS:
--   ok | lost | stale
-- INVARIANT: the first write is the ZREM, a deletion, and so the test of its own key; the side keys go with the last
--   message.
-- COST: O(log n); with audit O(position in the audit list).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, WAKE = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local AUDIT, token = ARGV[3], ARGV[4]
-- @include lane
if lane_answer then return lane_answer end
if redis.call('HEXISTS', RESERVED, token) == 0 then return remember('lost', '') end
local note = redis.call('HGET', INFLIGHT, token)
-- Only what came back before has lapses to forget; and only then, or for the audit list, the entry is needed.
local returned = not note or string.sub(note, -3) ~= '||1'
local entry = (returned or AUDIT == '1') and redis.call('HGET', RESERVED, token)
if returned then redis.call('HLEN', LAPSES) end
local audit_end = AUDIT == '1' and redis.call('LINDEX', QUEUE, '0')

redis.call('ZREM', DEADLINES, token)
redis.call('HDEL', RESERVED, token)
if note then redis.call('HDEL', INFLIGHT, token) end
if returned then
-- @include entry
  redis.call('HDEL', LAPSES, entry_id(entry))
end
if audit_end and audit_end == entry then
  -- LPOP would answer with the entry.
  redis.call('LTRIM', QUEUE, '1', '-1')
elseif audit_end then
-- @include audit
  drop_audit(entry)
end
if redis.pcall('HLEN', RESERVED) == 0 then
-- @include tidy
  tidy()
end
return remember('ok', '')
