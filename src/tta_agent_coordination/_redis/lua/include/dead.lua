-- Include: dead. Needs time, audit, HIGH, NORMAL, LOW, LAPSES, AUDIT, DLQ, DLQ_INFO. The cause stands beside the list, which stays v0's.
local function check_dead_letter_keys()
  redis.call('LLEN', DLQ)
  redis.call('HLEN', DLQ_INFO)
  redis.call('HLEN', LAPSES)
  if AUDIT == '1' then redis.call('LLEN', QUEUE) end
end

local function check_levels()
  redis.call('ZCARD', HIGH)
  redis.call('ZCARD', NORMAL)
  redis.call('ZCARD', LOW)
end

local function bury(entry, id, cause)
  redis.call('RPUSH', DLQ, entry)
  redis.call('HSET', DLQ_INFO, id, cause .. '|' .. text(now))
  redis.call('HDEL', LAPSES, id)
  if AUDIT == '1' then drop_audit(entry) end
end
