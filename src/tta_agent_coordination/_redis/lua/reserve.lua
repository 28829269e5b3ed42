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
--   7 ageing_us       integer  wait after which a message goes ahead of the levels, microseconds, 0 for never
-- RETURNS:
--   ok token entry deadline deliveries requeued dead | empty '' requeued dead | again '' requeued dead | stale
-- INVARIANT: an entry is in one level or under one token, never in both, never in neither.
-- COST: O(log n); at most 100 expired leases and 100 expired entries a call (again = call once more).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local AUDIT, MAX_DELIVERIES, token = ARGV[3], ARGV[4], ARGV[5]
local lease, ageing = tonumber(ARGV[6]), tonumber(ARGV[7])
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

redis.call('HLEN', INFLIGHT)
if redis.call('HEXISTS', RESERVED, token) == 1 then return {'again', '', 0, 0} end
local back, dead, seen = reap()
local ready = text(math.max(now, last_score))
local checked, buried = seen > 0, 0

local function first_until(sched, score)
  local hit = redis.call('ZRANGEBYSCORE', sched, '-inf', score, 'WITHSCORES', 'LIMIT', 0, 1)
  return hit[1], tonumber(hit[2])
end

-- The level and entry whose turn it is: the longest waiting of those that waited too long, else by level.
local function pick()
  local level, entry, score
  if ageing > 0 then
    for _, candidate in ipairs({'9', '5', '1'}) do
      local old, since = first_until(sched_of(candidate), text(now - ageing))
      if old and (not score or since < score) then level, entry, score = candidate, old, since end
    end
    if level then return level, entry, score end
  end
  entry, score = first_until(HIGH, ready)
  if entry then return '9', entry, score end
  entry, score = first_until(NORMAL, ready)
  if entry then return '5', entry, score end
  entry, score = first_until(LOW, ready)
  if entry then return '1', entry, score end
end

while true do
  local level, entry, score = pick()
  if not level then
    if dead > 0 or last_score > 0 then tidy() end
    remember('empty', '')
    return {'empty', '', back, dead}
  end
  local sched = sched_of(level)
  local id = entry_id(entry)
  if is_expired(entry, now) then
    if buried == 100 then return {'again', '', back, dead} end
    if not checked then
      check_dead_letter_keys()
      check_levels()
      checked = true
    end
    redis.call('ZREM', sched, entry)
    bury(entry, id, 'expired')
    buried, dead = buried + 1, dead + 1
  else
    local _, deliveries = read_lapses(id)
    local deadline = text(now + lease)
    redis.call('ZREM', sched, entry)
    redis.call('HSET', RESERVED, token, entry)
    redis.call('ZADD', DEADLINES, deadline, token)
    redis.call('HSET', INFLIGHT, token,
      level .. '|' .. text(score) .. '|' .. (id ~= entry and id or '') .. '||' .. text(deliveries + 1))
    remember('ok', token)
    return {'ok', token, entry, deadline, deliveries + 1, back, dead}
  end
end
