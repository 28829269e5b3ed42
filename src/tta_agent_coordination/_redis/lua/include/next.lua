-- Include: next. Needs score.
local function next_score()
  last_score = math.max(now, last_score + 1)
  return last_score
end
