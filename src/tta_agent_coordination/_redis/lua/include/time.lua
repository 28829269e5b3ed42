-- Include: time. Needs ARGV[2] = a manual clock in microseconds, or '' for the server's own.
-- tostring and .. cut microsecond stamps to 14 digits: every number goes out through text().
local function text(number) return string.format('%.0f', number) end

local now
if ARGV[2] == '' then
  local clock = redis.call('TIME')
  now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
else
  now = tonumber(ARGV[2])
end
