-- Purpose: look at a breaker, at what a v0 process wrote over our mirror, and keep or fetch the metrics.
-- KEYS:
--   1 shared   hash    state, generation, since, successes
--   2 probes   zset    probe -> lease deadline, microseconds
--   3 mirror   string  v0's JSON
--   4 metrics  string  v0's JSON of counters
-- ARGV:
--   1 counters  text     JSON to keep as metrics for 7 days, or empty to fetch them
--   2 now_us    integer  manual clock in microseconds, or empty for TIME
-- RETURNS:
--   ok record foreign ttl counters
-- INVARIANT: the breaker itself is only read. foreign is the mirror where it is not ours, ttl its PTTL.
-- COST: O(log n) in the slots.
local SHARED, PROBES, MIRROR, METRICS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local NAME, CHANNEL, TTL_MS = '', '', 0
-- @include time
-- @include breaker
local mirror, foreign, ttl, counters = redis.call('GET', MIRROR), '', -1, ''
if mirror and not string.find(mirror, '"generation": %d+}$') then
  foreign, ttl = mirror, redis.call('PTTL', MIRROR)
end
if ARGV[1] == '' then
  counters = redis.call('GET', METRICS) or ''
else
  -- The DEL comes first: a deletion is never refused, and lets the SET pass at maxmemory.
  redis.call('DEL', METRICS)
  redis.call('SET', METRICS, ARGV[1], 'PX', 604800000)
end
local reply = answer('ok')
reply[8], reply[9], reply[10] = foreign, text(ttl), counters
return reply
