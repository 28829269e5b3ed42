-- Include: score. Needs time, CLOCK.
-- Scores of an inbox only grow, so that neither a clock step nor a failover hides or reorders messages.
local last_score = tonumber(redis.call('GET', CLOCK) or '0') or 0
if not (last_score >= 0 and last_score < 9007199254740992) then last_score = 0 end

local function next_score()
  last_score = math.max(now, last_score + 1)
  return last_score
end

-- Delayed entries queue by their due time; the first free microsecond keeps equal due times in order.
local function due_score(sched, due)
  for _ = 1, 1000 do
    local at = text(due)
    if redis.call('ZCOUNT', sched, at, at) == 0 then return due end
    due = due + 1
  end
  return due
end
