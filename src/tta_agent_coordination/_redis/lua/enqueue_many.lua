-- Purpose: put several messages into an inbox, in their order; each answers for itself.
-- KEYS:
--   1 op        string  the caller's lane
--   2 reserved  hash    token -> entry, counted
--   3 clock     string  last score of the inbox
--   4 high      zset    entry -> available at, microseconds
--   5 normal    zset    entry -> available at, microseconds
--   6 low       zset    entry -> available at, microseconds
--   7 queue     list    audit copies
--   8 wake      zset    one marker: somebody who waits may look
--   9... dedups mixed   a string each, end|message id of the first send, for messages with a dedup_id
-- ARGV:
--   1 seq          integer  the lane's sequence
--   2 now_us       integer  manual clock in microseconds, or empty for TIME
--   3 audit        flag     1 keeps the audit list
--   4 limit        integer  most messages the inbox may hold
--   5 dedup_ms     integer  how long dedups are kept, milliseconds
--   6... messages  mixed    two each, at most 128: level or level|delay_us|expires_us|number of its dedup|id, entry
-- RETURNS:
--   ok depth|outcomes | stale
--   (outcomes: a letter for each message, o sent, f full, d duplicate, e its own dedup key is damaged; after d the
--   message_id of the first, after e the error, each as length, colon, text)
-- INVARIANT: the first write is a ZADD, which OOM may refuse with nothing sent; then nothing can fail.
-- COST: O(m log n) for m messages.
local RESERVED, CLOCK, HIGH, NORMAL, LOW, QUEUE = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local WAKE = KEYS[8]
local AUDIT, limit, dedup_ms = ARGV[3], tonumber(ARGV[4]), ARGV[5]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include score
-- @include next
-- @include due
local depth = redis.call('ZCARD', HIGH) + redis.call('ZCARD', NORMAL) + redis.call('ZCARD', LOW)
  + redis.call('HLEN', RESERVED)
if AUDIT == '1' then redis.call('LLEN', QUEUE) end

local scheds = {['9'] = HIGH, ['5'] = NORMAL, ['1'] = LOW}
local outcomes, due, copies, firsts, new_firsts = {}, {['9'] = {}, ['5'] = {}, ['1'] = {}}, {}, {}, {}
local moved = false
for i = 6, #ARGV, 2 do
  local level, entry, delay, expires_in, dedup, message_id = ARGV[i], ARGV[i + 1], 0, 0, nil, nil
  local outcome = 'o'
  if #level > 1 then
    local number
    level, delay, expires_in, number, message_id = string.match(level, '^(%d)|(%d+)|(%d+)|(%d+)|(.*)$')
    delay, expires_in = tonumber(delay), tonumber(expires_in)
    dedup = number ~= '0' and KEYS[8 + tonumber(number)]
  end
  if dedup then
    local known = firsts[dedup] or redis.pcall('GET', dedup) or ''
    if type(known) == 'table' then
      outcome = 'e' .. #known.err .. ':' .. known.err
    else
      local till, first = string.match(known, '^(%d+)|(.*)$')
      if first and tonumber(till) > now then outcome = 'd' .. #first .. ':' .. first end
    end
  end
  if outcome == 'o' and depth >= limit then outcome = 'f' end
  if outcome == 'o' then
    if expires_in > 0 then
      entry = string.sub(entry, 1, -2) .. ',"expires_at":' .. text(now + expires_in) .. '}'
    end
    if delay > 0 then
      redis.call('ZADD', scheds[level], text(due_score(scheds[level], now + delay)), entry)
    else
      local list = due[level]
      list[#list + 1], list[#list + 2] = text(next_score()), entry
      moved = true
    end
    copies[#copies + 1] = entry
    if dedup then
      firsts[dedup] = text(now + tonumber(dedup_ms) * 1000) .. '|' .. message_id
      new_firsts[#new_firsts + 1] = dedup
    end
    depth = depth + 1
  end
  outcomes[#outcomes + 1] = outcome
end
for level, list in pairs(due) do
  if list[1] then redis.call('ZADD', scheds[level], unpack(list)) end
end
if AUDIT == '1' and copies[1] then redis.call('RPUSH', QUEUE, unpack(copies)) end
for _, dedup in ipairs(new_firsts) do redis.call('SET', dedup, firsts[dedup], 'PX', dedup_ms) end
if moved then redis.call('SET', CLOCK, text(last_score)) end
if copies[1] then
-- @include wake
end
return remember('ok', text(depth) .. '|' .. table.concat(outcomes))
