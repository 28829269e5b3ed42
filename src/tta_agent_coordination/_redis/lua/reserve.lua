-- Purpose: end expired leases, then hand out the first ready message under a lease.
-- KEYS:
--   1 op         string  the caller's lane
--   2 reserved   hash    token -> entry
--   3 deadlines  zset    token -> lease deadline, microseconds
--   4 inflight   hash    token -> level|score|nonce|owner@first deadline|deliveries
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
--   5 token           text     names the reservation
--   6 lease_us        integer  length of the lease, microseconds
--   7 ageing_us       integer  wait after which a message goes ahead of the levels, microseconds, 0 for never
--   8 waiting         integer  0 does not wait; 1 waits, so say when to look again; 2 and took the marker
--   9 owner           text     epoch of the registration that takes it, or empty
-- RETURNS:
--   ok token entry deadline deliveries requeued dead | empty '' requeued dead pause | again '' requeued dead | stale
--   (pause: microseconds until something is due or a lease ends, -1 for nothing known or not asked)
-- INVARIANT: an entry is in one level or under one token, never in both, never in neither.
-- COST: O(log n); at most 100 expired leases and 100 expired entries a call (again = call once more).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local WAKE = KEYS[13]
local AUDIT, MAX_DELIVERIES, token = ARGV[3], ARGV[4], ARGV[5]
local lease, ageing, waiting, owner = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], ARGV[9]
-- @include lane
-- @include time
-- @include entry

if lane_answer then
  if lane_answer[1] ~= 'ok' then return {lane_answer[1], '', 0, 0, -1} end
  local entry, deadline = redis.call('HGET', RESERVED, token), redis.call('ZSCORE', DEADLINES, token)
  if entry and deadline then
    local deliveries = string.match(redis.call('HGET', INFLIGHT, token) or '', '|(%d+)$')
    return {'ok', token, entry, text(tonumber(deadline)), tonumber(deliveries) or 1, 0, 0}
  end
  -- The lease this answer promised ran out before the answer arrived: nobody holds it, so reserve anew.
end
-- @include score

redis.call('HLEN', INFLIGHT)
if redis.call('HEXISTS', RESERVED, token) == 1 then return {'again', '', 0, 0} end

-- What ran out and what expired is rare: the functions for it are made only when it is met.
local back, dead, buried = 0, 0, 0
local tokens = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_text, 'LIMIT', 0, 100)
if tokens[1] then
-- @include inbox
-- @include next
-- @include audit
-- @include dead
-- @include reap
  back, dead = reap(tokens)
end

local ready = now > last_score and now_text or text(last_score)
while true do
  -- The longest waiting of those that waited too long, else by level.
  local sched, level, entry, score
  if ageing > 0 then
    for i = 1, 3 do
      local candidate = i == 1 and HIGH or i == 2 and NORMAL or LOW
      local hit = redis.call('ZRANGEBYSCORE', candidate, '-inf', text(now - ageing), 'WITHSCORES', 'LIMIT', 0, 1)
      if hit[1] and (not score or tonumber(hit[2]) < tonumber(score)) then
        sched, level, entry, score = candidate, i == 1 and '9' or i == 2 and '5' or '1', hit[1], hit[2]
      end
    end
  end
  if not entry then
    for i = 1, 3 do
      sched = i == 1 and HIGH or i == 2 and NORMAL or LOW
      local hit = redis.call('ZRANGEBYSCORE', sched, '-inf', ready, 'WITHSCORES', 'LIMIT', 0, 1)
      if hit[1] then
        level, entry, score = i == 1 and '9' or i == 2 and '5' or '1', hit[1], hit[2]
        break
      end
    end
  end
  if not entry then
    if dead > 0 or last_score > 0 then
-- @include tidy
      tidy()
    end
    local pause = -1
    if waiting ~= '0' then
      local first = redis.call('ZRANGE', DEADLINES, 0, 0, 'WITHSCORES')[2]
      for i = 1, 3 do
        local due = redis.call('ZRANGE', i == 1 and HIGH or i == 2 and NORMAL or LOW, 0, 0, 'WITHSCORES')[2]
        if due and (not first or tonumber(due) < tonumber(first)) then first = due end
      end
      if first then pause = math.max(0, tonumber(first) - now) end
    end
    remember('empty', '')
    return {'empty', '', back, dead, text(pause)}
  end

  if is_expired(entry, now) then
    if buried == 100 then return {'again', '', back, dead} end
-- @include audit
-- @include dead
    if buried == 0 then
      check_dead_letter_keys()
      check_levels()
    end
    redis.call('ZREM', sched, entry)
    bury(entry, entry_id(entry), 'expired')
    buried, dead = buried + 1, dead + 1
  else
    local id = entry_id(entry)
    local deliveries = redis.call('HGET', LAPSES, id)
    deliveries = deliveries and tonumber(string.match(deliveries, '|(%d+)$')) or 0
    if not string.find(score, '^%d+$') then score = text(tonumber(score)) end
    local deadline = text(now + lease)
    redis.call('ZREM', sched, entry)
    redis.call('HSET', RESERVED, token, entry)
    redis.call('ZADD', DEADLINES, deadline, token)
    redis.call('HSET', INFLIGHT, token,
      level .. '|' .. score .. '|' .. (id ~= entry and id or '') .. '|'
      .. (owner == '' and '' or owner .. '@' .. deadline) .. '|' .. (deliveries + 1))
    -- Who took the marker, or put messages back, tells the others while there is more.
    if waiting == '2' or back > 1 then
      for i = 1, 3 do
        sched = i == 1 and HIGH or i == 2 and NORMAL or LOW
        if redis.call('ZRANGEBYSCORE', sched, '-inf', ready, 'LIMIT', 0, 1)[1] then
-- @include wake
          break
        end
      end
    end
    remember('ok', token)
    return {'ok', token, entry, deadline, deliveries + 1, back, dead}
  end
end
