-- Include: due. Needs time.
-- Delayed entries queue by their due time; the first free microsecond keeps equal due times in order.
local function due_score(sched, due)
  for _ = 1, 1000 do
    local at = text(due)
    if redis.call('ZCOUNT', sched, at, at) == 0 then return due end
    due = due + 1
  end
  return due
end
