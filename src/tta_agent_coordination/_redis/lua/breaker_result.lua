-- Purpose: end a probe with its verdict, or without one.
-- KEYS:
--   1 shared  hash    state, generation, since, successes
--   2 probes  zset    probe -> lease deadline, microseconds
--   3 mirror  string  v0's JSON
-- ARGV:
--   1 probe       text     names the call
--   2 now_us      integer  manual clock in microseconds, or empty for TIME
--   3 generation  integer  the half-open period it was granted in
--   4 verdict     text     ok, failed, or gone for none
--   5 threshold   integer  successes that close the breaker
--   6 name        text     the breaker, told to listeners
--   7 channel     text     where listeners wait
--   8 ttl_ms      integer  how long the record is kept, milliseconds
-- RETURNS:
--   closed record | counted record | opened record | released record | ignored record | stale record
-- INVARIANT: a success counts once, and only for a lease that still stands; a verdict of another period never does.
-- COST: O(log n) in the slots.
local SHARED, PROBES, MIRROR, NAME, CHANNEL, TTL_MS = KEYS[1], KEYS[2], KEYS[3], ARGV[6], ARGV[7], ARGV[8]
-- @include time
-- @include breaker
if generation ~= tonumber(ARGV[3]) or state ~= 'half_open' then return answer('stale') end
if ARGV[4] == 'failed' then
  become('open', now, 1)
  return answer('opened')
end
local deadline = tonumber(redis.call('ZSCORE', PROBES, ARGV[1]) or '0')
redis.call('ZREM', PROBES, ARGV[1])
if deadline <= now then return answer('ignored') end
if ARGV[4] == 'gone' then return answer('released') end
successes = successes + 1
if successes >= tonumber(ARGV[5]) then
  become('closed', now)
  return answer('closed')
end
redis.call('HSET', SHARED, 'successes', text(successes))
return answer('counted')
