-- Include: time. Needs ARGV[2] = a manual clock in microseconds, or '' for the server's own.
-- tostring and .. cut microsecond stamps to 14 digits: every stamp goes out as now_text or through text().
-- Past 2^53 a double is no whole number any more; a score that somebody set to infinity ends there, so every reply
-- holds digits.
local function text(number)
  return string.format('%.0f', math.max(-9007199254740992, math.min(9007199254740992, number)))
end

local now_text = ARGV[2]
if now_text == '' then
  local time = redis.call('TIME')
  now_text = time[1] .. string.sub('00000' .. time[2], -6)
end
local now = tonumber(now_text)
