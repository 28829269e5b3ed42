-- Purpose: close a breaker by hand, unless it changed since the caller last looked.
-- KEYS:
--   1 shared  hash    state, generation, since, successes
--   2 probes  zset    probe -> lease deadline, microseconds
--   3 mirror  string  v0's JSON
-- ARGV:
--   1 generation  integer  what the caller has seen, 0 for no record
--   2 now_us      integer  manual clock in microseconds, or empty for TIME
--   3 name        text     the breaker, told to listeners
--   4 channel     text     where listeners wait
--   5 ttl_ms      integer  how long the record is kept, milliseconds
-- RETURNS:
--   reset record | closed record | stale record
-- INVARIANT: a change is made only under the generation it was decided in; sent again, it finds another one.
-- COST: O(1).
local SHARED, PROBES, MIRROR, NAME, CHANNEL, TTL_MS = KEYS[1], KEYS[2], KEYS[3], ARGV[3], ARGV[4], ARGV[5]
-- @include time
-- @include breaker
if state == 'closed' then return answer('closed') end
if generation ~= tonumber(ARGV[1]) then return answer('stale') end
become('closed', now)
return answer('reset')
