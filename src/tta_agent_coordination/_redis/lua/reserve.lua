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
--   ok entry deadline|deliveries|requeued|dead | empty '' requeued|dead|pause | again '' requeued|dead | stale
--   (pause: microseconds until something is due or a lease ends, -1 for nothing known or not asked; few and short
--   elements, since a client in Python spends more on each than the server on joining them)
-- INVARIANT: an entry is in one level or under one token, never in both, never in neither.
-- COST: O(log n); at most 100 expired leases and 100 expired entries a call (again = call once more).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local WAKE = KEYS[13]
local AUDIT, MAX_DELIVERIES, token = ARGV[3], ARGV[4], ARGV[5]
local lease, ageing, waiting, owner = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
-- @include lane
-- @include time
-- @include entry

if lane_answer then
  if lane_answer[1] ~= 'ok' then return {lane_answer[1], '', '0|0|-1'} end
  local entry, deadline = redis.call('HGET', RESERVED, token), redis.call('ZSCORE', DEADLINES, token)
  if entry and deadline then
    local deliveries = string.match(redis.call('HGET', INFLIGHT, token) or '', '|(%d+)$')
    return {'ok', entry, text(tonumber(deadline)) .. '|' .. (deliveries or '1') .. '|0|0'}
  end
  -- The lease this answer promised ran out before the answer arrived: nobody holds it, so reserve anew.
end
-- @include score

redis.call('HLEN', INFLIGHT)
if redis.call('HEXISTS', RESERVED, token) == 1 then return {'again', '', '0|0'} end

-- What ran out and what expired is rare: the functions for it are made only when it is met.
local back, dead, buried = 0, 0, 0
if redis.call('ZCOUNT', DEADLINES, '-inf', now_text) > 0 then
-- @include inbox
-- @include next
-- @include audit
-- @include dead
-- @include reap
  back, dead = reap(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_text, 'LIMIT', '0', '100'))
end

-- The first of a level with its score, where that is due; cheaper than a range by score.
local function first(sched, at)
  local hit = redis.call('ZRANGE', sched, '0', '0', 'WITHSCORES')
  if hit[1] and tonumber(hit[2]) <= at then return hit[1], hit[2] end
end

local ready = math.max(now, last_score)
while true do
  -- The longest waiting of those that waited too long, else by level.
  local sched, level, entry, score
  if ageing ~= '0' then
    for i = 1, 3 do
      local candidate = i == 1 and HIGH or i == 2 and NORMAL or LOW
      local aged, since = first(candidate, now - tonumber(ageing))
      if aged and (not score or tonumber(since) < tonumber(score)) then
        sched, level, entry, score = candidate, i == 1 and '9' or i == 2 and '5' or '1', aged, since
      end
    end
  end
  if not entry then
    for i = 1, 3 do
      sched = i == 1 and HIGH or i == 2 and NORMAL or LOW
      entry, score = first(sched, ready)
      if entry then
        level = i == 1 and '9' or i == 2 and '5' or '1'
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
      for i = 1, 4 do
        local sched = i == 1 and DEADLINES or i == 2 and HIGH or i == 3 and NORMAL or LOW
        local _, due = first(sched, math.huge)
        due = due and math.max(0, tonumber(due) - now)
        if due and (pause < 0 or due < pause) then pause = due end
      end
    end
    remember('empty', '')
    return {'empty', '', back .. '|' .. dead .. '|' .. text(pause)}
  end

  if is_expired(entry, now) then
    if buried == 100 then return {'again', '', back .. '|' .. dead} end
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
    deliveries = deliveries and text((tonumber(string.match(deliveries, '|(%d+)$')) or 0) + 1) or '1'
    if not string.find(score, '^%d+$') then score = text(tonumber(score)) end
    local deadline = text(now + lease)
    redis.call('ZREM', sched, entry)
    redis.call('HSET', RESERVED, token, entry)
    redis.call('ZADD', DEADLINES, deadline, token)
    redis.call('HSET', INFLIGHT, token,
      level .. '|' .. score .. '|' .. (id ~= entry and id or '') .. '|'
      .. (owner == '' and '' or owner .. '@' .. deadline) .. '|' .. deliveries)
    -- Who took the marker, or put messages back, tells the others while there is more; a damaged level must not fail
    -- what is done.
    if waiting == '2' or back > 1 then
      for i = 1, 3 do
        sched = i == 1 and HIGH or i == 2 and NORMAL or LOW
        if redis.pcall('ZRANGEBYSCORE', sched, '-inf', text(ready), 'LIMIT', '0', '1')[1] then
-- @include wake
          break
        end
      end
    end
    remember('ok', token)
    local undone = (back > 0 or dead > 0) and '|' .. back .. '|' .. dead or '|0|0'
    return {'ok', entry, deadline .. '|' .. deliveries .. undone}
  end
end
