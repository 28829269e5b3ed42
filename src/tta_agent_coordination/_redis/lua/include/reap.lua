-- Include: reap. Needs entry, inbox, next, dead, DEADLINES, MAX_DELIVERIES.
-- Ends expired leases; answers how many messages went back and how many died.
local function reap(tokens)
  check_dead_letter_keys()
  check_levels()
  redis.call('HLEN', RESERVED)
  redis.call('HLEN', INFLIGHT)
  local back, dead, moved = 0, 0, false
  for _, token in ipairs(tokens) do
    local entry = redis.call('HGET', RESERVED, token)
    local level, score, deliveries = read_note(token)
    redis.call('ZREM', DEADLINES, token)
    redis.call('HDEL', RESERVED, token)
    redis.call('HDEL', INFLIGHT, token)
    if entry then
      local id = entry_id(entry)
      local lapses, before = read_lapses(id)
      local cause
      if is_expired(entry, now) then
        cause = 'expired'
      elseif lapses + 1 >= tonumber(MAX_DELIVERIES) then
        cause = 'poison'
      elseif not level and not tail_start(entry) and not pcall(cjson.decode, entry) then
        cause = 'undecodable'
      end
      if cause then
        bury(entry, id, cause)
        dead = dead + 1
      else
        -- The original place: behind what was sent before it, ahead of what came after.
        if not score then
          score, moved = next_score(), true
        end
        redis.call('ZADD', sched_of(level or level_of(entry)), text(score), entry)
        redis.call('HSET', LAPSES, id, (lapses + 1) .. '|' .. (deliveries or before + 1))
        back = back + 1
      end
    end
  end
  if moved then redis.call('SET', CLOCK, text(last_score)) end
  return back, dead
end
