-- Include: settle. Needs entry, inbox, DEADLINES, AUDIT, QUEUE.
-- Reads all that ending a reservation will write, so a damaged key shows before anything changes.
local function hold(token)
  local entry = redis.call('HGET', RESERVED, token)
  if not entry then return nil end
  redis.call('ZSCORE', DEADLINES, token)
  local level, score, deliveries = read_note(token)
  local returned = deliveries ~= 1
  if returned then redis.call('HLEN', LAPSES) end
  if AUDIT == '1' then redis.call('LLEN', QUEUE) end
  return {
    entry = entry,
    id = entry_id(entry),
    level = level or level_of(entry),
    score = score,
    deliveries = deliveries or 1,
    returned = returned,
  }
end

-- The HDEL comes first: a deletion is never refused, and lets the rest pass at maxmemory.
local function end_reservation(token)
  redis.call('HDEL', RESERVED, token)
  redis.call('ZREM', DEADLINES, token)
  redis.call('HDEL', INFLIGHT, token)
end
