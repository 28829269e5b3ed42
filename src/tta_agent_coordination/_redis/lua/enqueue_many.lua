-- Purpose: put several messages into an inbox, in their order; each answers for itself.
-- KEYS:
--   1 op        string  the caller's lane
--   2 reserved  hash    token -> entry, counted
--   3 clock     string  last score of the inbox
--   4 high      zset    entry -> available at, microseconds
--   5 normal    zset    entry -> available at, microseconds
--   6 low       zset    entry -> available at, microseconds
--   7 queue     list    audit copies
--   8 wake      zset    one marker: somebody who waits may look
--   9... dedups mixed   a string each, end|message id of the first send, for messages with a dedup_id
-- ARGV:
--   1 seq          integer  the lane's sequence
--   2 now_us       integer  manual clock in microseconds, or empty for TIME
--   3 audit        flag     1 keeps the audit list
--   4 limit        integer  most messages the inbox may hold
--   5 dedup_ms     integer  how long dedups are kept, milliseconds
--   6... messages  mixed    six a message, at most 100: level, delay_us, expires_us, entry, number of its dedup, message_id
-- RETURNS:
--   ok outcomes | stale
--   (outcomes: for each message o depth, f depth or d message_id of the first, as letter, length, colon, text)
-- INVARIANT: the first write is a ZADD, which OOM may refuse with nothing sent; then nothing can fail.
-- COST: O(m log n) for m messages.
local RESERVED, CLOCK, HIGH, NORMAL, LOW, QUEUE = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local WAKE = KEYS[8]
local AUDIT, limit, dedup_ms = ARGV[3], tonumber(ARGV[4]), ARGV[5]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include score
-- @include next
-- @include due
local depth = redis.call('ZCARD', HIGH) + redis.call('ZCARD', NORMAL) + redis.call('ZCARD', LOW)
  + redis.call('HLEN', RESERVED)
if AUDIT == '1' then redis.call('LLEN', QUEUE) end
for i = 9, #KEYS do redis.call('GET', KEYS[i]) end

local outcomes, sent, moved = {}, 0, false
for i = 6, #ARGV, 6 do
  local sched = ARGV[i] == '9' and HIGH or ARGV[i] == '1' and LOW or NORMAL
  local delay, expires_in, entry = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  local dedup, outcome, fact = ARGV[i + 4] ~= '0' and KEYS[8 + tonumber(ARGV[i + 4])], 'o', nil
  if dedup then
    local till, first = string.match(redis.call('GET', dedup) or '', '^(%d+)|(.*)$')
    if first and tonumber(till) > now then outcome, fact = 'd', first end
  end
  if outcome == 'o' and depth >= limit then outcome, fact = 'f', text(depth) end
  if outcome == 'o' then
    if expires_in > 0 then
      entry = string.sub(entry, 1, -2) .. ',"expires_at":' .. text(now + expires_in) .. '}'
    end
    local score
    if delay > 0 then
      score = due_score(sched, now + delay)
    else
      score, moved = next_score(), true
    end
    redis.call('ZADD', sched, text(score), entry)
    if AUDIT == '1' then redis.call('RPUSH', QUEUE, entry) end
    if dedup then redis.call('SET', dedup, text(now + tonumber(dedup_ms) * 1000) .. '|' .. ARGV[i + 5], 'PX', dedup_ms) end
    depth, sent = depth + 1, sent + 1
    fact = text(depth)
  end
  outcomes[#outcomes + 1] = outcome .. #fact .. ':' .. fact
end
if moved then redis.call('SET', CLOCK, text(last_score)) end
if sent > 0 then
-- @include wake
end
return remember('ok', table.concat(outcomes))
