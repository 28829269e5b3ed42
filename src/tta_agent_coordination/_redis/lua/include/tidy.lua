-- Include: tidy. Needs HIGH, NORMAL, LOW, RESERVED, INFLIGHT, LAPSES, CLOCK, WAKE.
-- An empty inbox keeps no side keys. Asked after the work is done, so a damaged key must not fail it.
local function tidy()
  if redis.pcall('HLEN', RESERVED) == 0 and redis.pcall('ZCARD', HIGH) == 0
    and redis.pcall('ZCARD', NORMAL) == 0 and redis.pcall('ZCARD', LOW) == 0 then
    redis.call('DEL', CLOCK, LAPSES, INFLIGHT, WAKE)
  end
end
