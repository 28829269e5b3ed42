-- Include: lane. Needs KEYS[1] = the lane, ARGV[1] = its sequence number.
-- A lane is one coordinator, one inbox, one call in flight. Its key remembers the last sequence and answer, so
-- a command that is sent again answers what it answered, and one that arrives after its successor does nothing.
local lane_answer
local memory = redis.call('GET', KEYS[1])
if memory then
  local last = string.match(memory, '^%d+')
  if last == ARGV[1] then
    local status, answer = string.match(memory, '^%d+|([^|]*)|(.*)$')
    lane_answer = {status, answer}
  elseif last and (#last > #ARGV[1] or #last == #ARGV[1] and last > ARGV[1]) then
    return {'stale', ''}
  end
end

-- Comes last: an answer remembered before the work would turn a crash into a lost operation. OOM may refuse it
-- only where nothing was written, and then there is nothing to remember. The answer holds no stamps: .. would
-- cut them. Numbers among arguments stand as text, here and elsewhere: Redis prints a Lua number with 17 digits,
-- which takes as long as a command does.
local function remember(status, answer)
  local saved = redis.pcall('SET', KEYS[1], ARGV[1] .. '|' .. status .. '|' .. answer, 'PX', '86400000')
  if saved.err and not string.find(tostring(saved.err), 'OOM', 1, true) then return saved end
  return {status, answer}
end
