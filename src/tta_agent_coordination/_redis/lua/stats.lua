-- Purpose: count what an inbox holds.
-- KEYS:
--   1 reserved   hash    token -> entry
--   2 deadlines  zset    token -> lease deadline, microseconds
--   3 clock      string  last score of the inbox
--   4 high       zset    entry -> available at, microseconds
--   5 normal     zset    entry -> available at, microseconds
--   6 low        zset    entry -> available at, microseconds
--   7 queue      list    audit copies
--   8 dlq        list    dead entries
-- ARGV:
--   1 none    text     empty
--   2 now_us  integer  manual clock in microseconds, or empty for TIME
-- RETURNS:
--   ok high high_ready normal normal_ready low low_ready reserved overdue audit dead oldest_us ready_until_us
-- INVARIANT: nothing is written; all counts are of one moment.
-- COST: O(log n).
local CLOCK = KEYS[3]
-- @include time
-- @include score
local reply, oldest = {'ok'}, 0
local ready = text(math.max(now, last_score))
for i = 4, 6 do
  reply[#reply + 1] = redis.call('ZCARD', KEYS[i])
  reply[#reply + 1] = redis.call('ZCOUNT', KEYS[i], '-inf', ready)
  local first = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', ready, 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] then oldest = math.min(now, math.max(oldest, now - tonumber(first[2]))) end
end
reply[#reply + 1] = redis.call('HLEN', KEYS[1])
reply[#reply + 1] = redis.call('ZCOUNT', KEYS[2], '-inf', text(now))
reply[#reply + 1] = redis.call('LLEN', KEYS[7])
reply[#reply + 1] = redis.call('LLEN', KEYS[8])
reply[#reply + 1] = text(oldest)
reply[#reply + 1] = ready
return reply
