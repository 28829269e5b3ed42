-- Purpose: put one message into an inbox, unless it is full or known already.
-- KEYS:
--   1 op        string  the caller's lane
--   2 reserved  hash    token -> entry, counted
--   3 clock     string  last score of the inbox
--   4 high      zset    entry -> available at, microseconds
--   5 normal    zset    entry -> available at, microseconds
--   6 low       zset    entry -> available at, microseconds
--   7 queue     list    audit copies
--   8 wake      zset    one marker: somebody who waits may look
--   9 dedup     string  end|message id of the first send, only when the sender gave a dedup_id
-- ARGV:
--   1 seq         integer  the lane's sequence
--   2 now_us      integer  manual clock in microseconds, or empty for TIME
--   3 audit       flag     1 keeps the audit list
--   4 level       integer  9, 5 or 1
--   5 limit       integer  most messages the inbox may hold
--   6 delay_us    integer  microseconds until it may be received, 0 for now
--   7 expires_us  integer  microseconds until it is dead, 0 for never
--   8 entry       text     the stored form
--   9 message_id  text     remembered under dedup
--  10 dedup_ms    integer  how long dedup is kept, milliseconds
-- RETURNS:
--   ok depth | full depth | duplicate message_id | stale
-- INVARIANT: the first write is the ZADD, which OOM may refuse; what follows cannot fail.
-- COST: O(log n) in the level's length.
local RESERVED, CLOCK, HIGH, NORMAL, LOW, QUEUE = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local WAKE, DEDUP = KEYS[8], KEYS[9]
local AUDIT, level, limit, delay, expires_in = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local entry = ARGV[8]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include score

local sched = level == '9' and HIGH or level == '1' and LOW or NORMAL
local depth = redis.call('ZCARD', HIGH) + redis.call('ZCARD', NORMAL) + redis.call('ZCARD', LOW)
  + redis.call('HLEN', RESERVED)
if AUDIT == '1' then redis.call('LLEN', QUEUE) end
if DEDUP then
  local till, first = string.match(redis.call('GET', DEDUP) or '', '^(%d+)|(.*)$')
  if first and tonumber(till) > now then return remember('duplicate', first) end
end
if depth >= limit then return remember('full', depth) end

if expires_in ~= '0' then
  entry = string.sub(entry, 1, -2) .. ',"expires_at":' .. text(now + tonumber(expires_in)) .. '}'
end
if delay ~= '0' then
-- @include due
  redis.call('ZADD', sched, text(due_score(sched, now + tonumber(delay))), entry)
else
  local score = now > last_score and now_text or text(last_score + 1)
  redis.call('ZADD', sched, score, entry)
  redis.call('SET', CLOCK, score)
end
if AUDIT == '1' then redis.call('RPUSH', QUEUE, entry) end
-- @include wake
if DEDUP then
  redis.call('SET', DEDUP, text(now + tonumber(ARGV[10]) * 1000) .. '|' .. ARGV[9], 'PX', ARGV[10])
end
return remember('ok', depth + 1)
