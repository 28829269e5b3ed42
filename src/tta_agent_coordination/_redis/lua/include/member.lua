-- Include: member. Needs MEMBERS, CHANNEL.
-- A member is epoch|ttl|seen|flags|status|entry; ttl and seen in microseconds, flags are s (suspect) and
-- d (draining). Stamps stay text, since .. would cut a number. An event goes out with the change it tells of.
local function read_member(name)
  local held = redis.call('HGET', MEMBERS, name)
  if not held then return nil end
  return string.match(held, '^(%d+)|(%d+)|(%d+)|(%a*)|([^|]*)|(.*)$')
end

local function write_member(name, epoch, ttl, seen, flags, status, entry)
  redis.call('HSET', MEMBERS, name, table.concat({epoch, ttl, seen, flags, status, entry}, '|'))
end

local lines = {}
local function tell(kind, name, epoch, seen, previous, status)
  local line = table.concat({kind, epoch, now_text, name, seen, previous, status}, '|')
  lines[#lines + 1] = line
  redis.call('PUBLISH', CHANNEL, line)
end
