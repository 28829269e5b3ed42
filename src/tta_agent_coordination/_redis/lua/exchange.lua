-- Purpose: end some reservations for good, then hand out several ready messages under leases.
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
--   5 lease_us        integer  length of the leases, microseconds
--   6 ageing_us       integer  wait after which a message goes ahead of the levels, microseconds, 0 for never
--   7 waiting         integer  0 does not wait; 1 waits, so say when to look again; 2 and took the marker
--   8 ended           integer  how many of the tokens are reservations to end, at most 128
--   9 owner           text     epoch of the registration that takes them, or empty
--  10... tokens       mixed    those, then the names of the new reservations, at most 100
-- RETURNS:
--   ok held|requeued|dead|pause, then two elements a message: entry token|deadline|deliveries
--   | again the same, where a call's share of burying is done | stale
--   (held: 1 or 0 for each token to end; pause as in reserve)
-- INVARIANT: an entry is in one level or under one token; the first write is a deletion.
-- COST: O(m log n) for m tokens; with audit O(position in the audit list) each; at most 100 expired leases.
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local WAKE = KEYS[13]
local AUDIT, MAX_DELIVERIES = ARGV[3], ARGV[4]
local lease, ageing, waiting, ended = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local owner, first_new = ARGV[9], 10 + ended
-- @include lane
-- @include time
-- @include entry
if lane_answer then
  local reply = {lane_answer[1], lane_answer[2] .. '|0|0|-1'}
  for i = first_new, lane_answer[1] == 'stale' and 0 or #ARGV do
    local entry, deadline = redis.call('HGET', RESERVED, ARGV[i]), redis.call('ZSCORE', DEADLINES, ARGV[i])
    if entry and deadline then
      local deliveries = string.match(redis.call('HGET', INFLIGHT, ARGV[i]) or '', '|(%d+)$')
      reply[#reply + 1] = entry
      reply[#reply + 1] = ARGV[i] .. '|' .. text(tonumber(deadline)) .. '|' .. (deliveries or '1')
    end
  end
  return reply
end
-- @include score
-- @include inbox
-- @include tidy
-- @include audit
-- @include settle
-- @include next
-- @include dead
-- @include reap

local holds, held = {}, ''
for i = 10, 9 + ended do
  local what = hold(ARGV[i])
  held = held .. (what and '1' or '0')
  if what then holds[ARGV[i]] = what end
end
redis.call('HLEN', RESERVED)
redis.call('HLEN', INFLIGHT)
redis.call('ZCARD', DEADLINES)
if #ARGV >= first_new then
  check_dead_letter_keys()
  check_levels()
end
for i = 10, 9 + ended do
  local what = holds[ARGV[i]]
  if what then
    holds[ARGV[i]] = nil
    end_reservation(ARGV[i])
    if what.returned then redis.call('HDEL', LAPSES, what.id) end
    if AUDIT == '1' then drop_audit(what.entry) end
  end
end

local wanted, taken, buried, back, dead = #ARGV - first_new + 1, 0, 0, 0, 0
local status = 'ok'
local reply, pause = {status, ''}, '-1'
if wanted > 0 then
  local tokens = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now_text, 'LIMIT', '0', '100')
  if tokens[1] then back, dead = reap(tokens) end
end
local ready = now > last_score and now_text or text(last_score)

local function take(sched, level, entry, score)
  redis.call('ZREM', sched, entry)
  local id = entry_id(entry)
  if is_expired(entry, now) then
    bury(entry, id, 'expired')
    buried, dead = buried + 1, dead + 1
    return
  end
  local before = string.match(redis.call('HGET', LAPSES, id) or '', '|(%d+)$')
  local deliveries = before and text(tonumber(before) + 1) or '1'
  if not string.find(score, '^%d+$') then score = text(tonumber(score)) end
  local token, deadline = ARGV[first_new + taken], text(now + lease)
  taken = taken + 1
  redis.call('HSET', RESERVED, token, entry)
  redis.call('ZADD', DEADLINES, deadline, token)
  redis.call('HSET', INFLIGHT, token,
    level .. '|' .. score .. '|' .. (id ~= entry and id or '') .. '|'
    .. (owner == '' and '' or owner .. '@' .. deadline) .. '|' .. deliveries)
  reply[#reply + 1] = entry
  reply[#reply + 1] = token .. '|' .. deadline .. '|' .. deliveries
end

-- The longest waiting of those that waited too long come first, one by one.
while ageing > 0 and taken < wanted and buried < 100 do
  local level, entry, score
  for _, candidate in ipairs({'9', '5', '1'}) do
    local hit = redis.call('ZRANGEBYSCORE', sched_of(candidate), '-inf', text(now - ageing),
      'WITHSCORES', 'LIMIT', '0', '1')
    if hit[1] and (not score or tonumber(hit[2]) < tonumber(score)) then
      level, entry, score = candidate, hit[1], hit[2]
    end
  end
  if not entry then break end
  take(sched_of(level), level, entry, score)
end
for _, level in ipairs({'9', '5', '1'}) do
  local sched = sched_of(level)
  while taken < wanted and buried < 100 do
    local hits = redis.call('ZRANGEBYSCORE', sched, '-inf', ready, 'WITHSCORES', 'LIMIT', '0', wanted - taken)
    if not hits[1] then break end
    for i = 1, #hits, 2 do take(sched, level, hits[i], hits[i + 1]) end
  end
end

if wanted > taken and buried >= 100 then status = 'again' end
if taken == wanted and (waiting == '2' or back > 0) then
  for _, level in ipairs({'9', '5', '1'}) do
    if redis.call('ZRANGEBYSCORE', sched_of(level), '-inf', ready, 'LIMIT', '0', '1')[1] then
-- @include wake
      break
    end
  end
elseif taken == 0 and waiting ~= '0' then
  local first = redis.call('ZRANGE', DEADLINES, '0', '0', 'WITHSCORES')[2]
  for _, level in ipairs({'9', '5', '1'}) do
    local due = redis.call('ZRANGE', sched_of(level), '0', '0', 'WITHSCORES')[2]
    if due and (not first or tonumber(due) < tonumber(first)) then first = due end
  end
  if first then pause = text(math.max(0, tonumber(first) - now)) end
end
if taken == 0 then tidy() end
remember(status, held)
reply[1], reply[2] = status, held .. '|' .. back .. '|' .. dead .. '|' .. pause
return reply
