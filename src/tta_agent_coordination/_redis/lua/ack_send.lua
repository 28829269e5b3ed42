-- Purpose: end a reservation and send what follows from it, all or nothing.
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
--  12... targets  mixed   seven keys a target inbox: reserved, clock, high, normal, low, queue, wake
-- ARGV:
--   1 seq       integer  the lane's sequence
--   2 now_us    integer  manual clock in microseconds, or empty for TIME
--   3 audit     flag     1 keeps the audit lists
--   4 token     text     the reservation
--   5 limit     integer  most messages an inbox may hold
--   6... sends  mixed    three arguments a message: target number from 1, level, entry
-- RETURNS:
--   ok | lost | full target | stale
-- INVARIANT: the first write is a ZADD, which OOM may refuse with the token still held; then nothing can fail.
-- COST: O(m log n) for m messages; with audit O(position in the audit list).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, WAKE = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local AUDIT, token, limit = ARGV[3], ARGV[4], tonumber(ARGV[5])
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include inbox
-- @include tidy
-- @include audit
-- @include settle
local held = hold(token)
if not held then return remember('lost', '') end

local targets = {}
for base = 11, #KEYS - 1, 7 do
  local last = tonumber(redis.call('GET', KEYS[base + 2]) or '0') or 0
  if not (last >= 0 and last <= 9007199254740992) then last = 0 end
  local levels = {['9'] = KEYS[base + 3], ['5'] = KEYS[base + 4], ['1'] = KEYS[base + 5]}
  local depth = redis.call('HLEN', KEYS[base + 1]) + redis.call('ZCARD', levels['9'])
    + redis.call('ZCARD', levels['5']) + redis.call('ZCARD', levels['1'])
  if KEYS[base + 1] == RESERVED then depth = depth - 1 end
  if AUDIT == '1' then redis.call('LLEN', KEYS[base + 6]) end
  targets[#targets + 1] = {
    clock = KEYS[base + 2],
    levels = levels,
    queue = KEYS[base + 6],
    wake = KEYS[base + 7],
    depth = depth,
    last = last,
  }
end
for i = 6, #ARGV, 3 do
  local target = targets[tonumber(ARGV[i])]
  target.depth = target.depth + 1
  if target.depth > limit then return remember('full', ARGV[i]) end
end

for i = 6, #ARGV, 3 do
  local target = targets[tonumber(ARGV[i])]
  target.last = math.max(now, target.last + 1)
  redis.call('ZADD', target.levels[ARGV[i + 1]], text(target.last), ARGV[i + 2])
  redis.call('SET', target.clock, text(target.last))
  if AUDIT == '1' then redis.call('RPUSH', target.queue, ARGV[i + 2]) end
  redis.pcall('ZADD', target.wake, 0, '1')
end
end_reservation(token)
if held.returned then redis.call('HDEL', LAPSES, held.id) end
if AUDIT == '1' then drop_audit(held.entry) end
tidy()
return remember('ok', '')
