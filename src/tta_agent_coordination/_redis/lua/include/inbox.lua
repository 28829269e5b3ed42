-- Include: inbox. Needs HIGH, NORMAL, LOW, INFLIGHT, LAPSES.
local function sched_of(level)
  if level == '9' then return HIGH elseif level == '1' then return LOW end
  return NORMAL
end

-- inflight keeps what a reservation must give back: level|score|nonce|owner|deliveries.
local function read_note(token)
  local level, score, deliveries =
    string.match(redis.call('HGET', INFLIGHT, token) or '', '^(%d+)|(%d+)|[^|]*|[^|]*|(%d+)$')
  return level, tonumber(score), tonumber(deliveries)
end

-- lapses keeps, only for what came back: expired leases|deliveries.
local function read_lapses(id)
  local lapses, deliveries = string.match(redis.call('HGET', LAPSES, id) or '', '^(%d+)|(%d+)$')
  return tonumber(lapses) or 0, tonumber(deliveries) or 0
end
