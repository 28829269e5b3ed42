-- Purpose: open a breaker for everybody, unless it changed since the caller last looked.
-- KEYS:
--   1 shared  hash    state, generation, since, successes
--   2 probes  zset    probe -> lease deadline, microseconds
--   3 mirror  string  v0's JSON
-- ARGV:
--   1 generation  integer  what the caller has seen, 0 for no record
--   2 now_us      integer  manual clock in microseconds, or empty for TIME
--   3 age_us      integer  how long the caller has been open, microseconds
--   4 failures    integer  consecutive failures, told to v0
--   5 name        text     the breaker, told to listeners
--   6 channel     text     where listeners wait
--   7 ttl_ms      integer  how long the record is kept, milliseconds
-- RETURNS:
--   tripped record | open record | stale record
-- INVARIANT: a change is made only under the generation it was decided in; sent again, it finds another one.
-- COST: O(1).
local SHARED, PROBES, MIRROR, NAME, CHANNEL, TTL_MS = KEYS[1], KEYS[2], KEYS[3], ARGV[5], ARGV[6], ARGV[7]
-- @include time
-- @include breaker
if generation ~= tonumber(ARGV[1]) then return answer('stale') end
local opened = now - tonumber(ARGV[3])
if state == 'open' then
  if opened < since then
    redis.call('HDEL', SHARED, 'since')
    redis.call('HSET', SHARED, 'since', text(opened))
    since = opened
  end
  return answer('open')
end
become('open', opened, tonumber(ARGV[4]))
return answer('tripped')
