-- Purpose: end expired leases, then hand out the first ready message under a lease.
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
-- ARGV:
--   1 seq             integer  the lane's sequence
--   2 now_us          integer  manual clock in microseconds, or empty for TIME
--   3 audit           flag     1 keeps the audit list
--   4 max_deliveries  integer  expired leases until a message is poison
--   5 token           text     names the reservation
--   6 lease_us        integer  length of the lease, microseconds
-- RETURNS:
--   ok token entry deadline deliveries requeued dead | empty '' requeued dead | again '' requeued dead | stale
-- INVARIANT: an entry is in one level or under one token, never in both, never in neither.
-- COST: O(log n); at most 100 expired leases and 100 expired entries a call (again = call once more).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local AUDIT, MAX_DELIVERIES, token, lease = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
-- @include lane
-- @include time
-- @include entry
-- @include inbox

if lane_answer then
  local reply = recall()
  if reply[1] ~= 'ok' then return {reply[1], '', 0, 0} end
  local entry, deadline = redis.call('HGET', RESERVED, token), redis.call('ZSCORE', DEADLINES, token)
  if entry and deadline then
    local _, _, deliveries = read_note(token)
    return {'ok', token, entry, text(tonumber(deadline)), deliveries or 1, 0, 0}
  end
  -- The lease this answer promised ran out before the answer arrived: nobody holds it, so reserve anew.
end
-- @include score
-- @include dead
-- @include reap

local back, dead, seen = reap()
local ready = text(math.max(now, last_score))
local checked, buried = seen > 0, 0
while true do
  local level, sched, hit
  for i = 1, 3 do
    sched = i == 1 and HIGH or i == 2 and NORMAL or LOW
    hit = redis.call('ZRANGEBYSCORE', sched, '-inf', ready, 'WITHSCORES', 'LIMIT', 0, 1)
    if hit[1] then
      level = i == 1 and '9' or i == 2 and '5' or '1'
      break
    end
  end
  if not level then
    if dead > 0 then tidy() end
    remember('empty', '')
    return {'empty', '', back, dead}
  end
  local entry, score = hit[1], hit[2]
  local id = entry_id(entry)
  if is_expired(entry, now) then
    if buried == 100 then return {'again', '', back, dead} end
    if not checked then
      check_dead_letter_keys()
      checked = true
    end
    redis.call('ZREM', sched, entry)
    bury(entry, id, 'expired')
    buried, dead = buried + 1, dead + 1
  else
    local _, deliveries = read_lapses(id)
    redis.call('HLEN', INFLIGHT)
    if redis.call('HEXISTS', RESERVED, token) == 1 then return {'again', '', back, dead} end
    local deadline = text(now + lease)
    redis.call('ZREM', sched, entry)
    redis.call('HSET', RESERVED, token, entry)
    redis.call('ZADD', DEADLINES, deadline, token)
    redis.call('HSET', INFLIGHT, token,
      level .. '|' .. text(tonumber(score)) .. '|' .. (id ~= entry and id or '') .. '||' .. text(deliveries + 1))
    remember('ok', token)
    return {'ok', token, entry, deadline, deliveries + 1, back, dead}
  end
end
