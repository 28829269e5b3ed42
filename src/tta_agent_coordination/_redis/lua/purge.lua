-- Purpose: delete dead letters for good.
-- KEYS:
--   1 op        string  the caller's lane
--   2 dlq       list    dead entries
--   3 dlq_info  hash    id -> cause|time
-- ARGV:
--   1 seq         integer  the lane's sequence
--   2... letters  text     the dead entries, at most 100; none for all
-- RETURNS:
--   ok purged | stale
-- INVARIANT: a named letter goes once, however often it is named.
-- COST: O(length of the DLQ) a letter; all of them in O(1) and freed aside.
local DLQ, DLQ_INFO = KEYS[2], KEYS[3]
-- @include lane
if lane_answer then return lane_answer end
-- @include entry
local purged = redis.call('LLEN', DLQ)
redis.call('HLEN', DLQ_INFO)
if #ARGV == 1 then
  redis.call('UNLINK', DLQ, DLQ_INFO)
else
  purged = 0
  for i = 2, #ARGV do
    if redis.call('LREM', DLQ, 1, ARGV[i]) == 1 then
      purged = purged + 1
      redis.call('HDEL', DLQ_INFO, entry_id(ARGV[i]))
    end
  end
  if redis.call('LLEN', DLQ) == 0 then redis.call('DEL', DLQ_INFO) end
end
return remember('ok', purged)
