-- Include: breaker. Needs time, SHARED, PROBES, MIRROR, NAME, CHANNEL, TTL_MS.
-- The record is a hash: state, generation (grows with each change, and past a lost record), since (microseconds),
-- successes (of this half-open period). The mirror is v0's JSON; its extra field says that we wrote it.
local state, generation, since, successes
do
  local held = redis.call('HMGET', SHARED, 'state', 'generation', 'since', 'successes')
  state, generation = held[1] or 'closed', tonumber(held[2] or '0') or 0
  since, successes = tonumber(held[3] or '0') or 0, tonumber(held[4] or '0') or 0
end
redis.call('ZCARD', PROBES)

local function answer(status)
  local probes = redis.call('ZCOUNT', PROBES, '(' .. text(now), '+inf')
  return {status, state, text(generation), text(since), text(successes), text(probes), text(now)}
end

-- The DEL comes first: a deletion is never refused, and lets the rest pass at maxmemory.
local function become(next_state, at, failures)
  redis.call('DEL', PROBES)
  generation = math.max(generation + 1, now)
  state, since, successes = next_state, at, 0
  redis.call('HSET', SHARED, 'state', state, 'generation', text(generation), 'since', text(since), 'successes', '0')
  redis.call('PEXPIRE', SHARED, TTL_MS)
  local last_failure = next_state == 'open' and string.format('%.6f', at / 1000000) or 'null'
  redis.call('SET', MIRROR, '{"state": "' .. state .. '", "failure_count": ' .. text(failures or 0)
    .. ', "half_open_calls": 0, "half_open_successes": 0, "last_failure_time": ' .. last_failure
    .. ', "state_changed_at": ' .. string.format('%.6f', at / 1000000)
    .. ', "updated_at": ' .. string.format('%.6f', now / 1000000)
    .. ', "generation": ' .. text(generation) .. '}', 'PX', 86400000)
  redis.call('PUBLISH', CHANNEL, state .. '|' .. text(generation) .. '|' .. text(since) .. '|' .. text(now)
    .. '|' .. NAME)
end
