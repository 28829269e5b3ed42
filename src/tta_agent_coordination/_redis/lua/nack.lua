-- Purpose: end a reservation that failed: retry it later with backoff, or dead-letter it.
-- KEYS:
--   1 op         string  the caller's lane
--   2 reserved   hash    token -> entry
--   3 deadlines  zset    token -> lease deadline, microseconds
--   4 inflight   hash    token -> level|score|nonce|owner|deliveries
--   5 lapses     hash    id -> expired leases|deliveries
--   6 clock      string  last score of the inbox
--   7 high       zset    entry -> available at, microseconds
--   8 normal     zset    entry -> available at, microseconds
--   9 low        zset    entry -> available at, microseconds
--  10 queue      list    audit copies
--  11 dlq        list    dead entries
--  12 dlq_info   hash    id -> cause|time
--  13 wake       zset    one marker: somebody who waits may look
-- ARGV:
--   1 seq             integer  the lane's sequence
--   2 now_us          integer  manual clock in microseconds, or empty for TIME
--   3 audit           flag     1 keeps the audit list
--   4 token           text     the reservation
--   5 error           json     the new last_error, null or a JSON string
--   6 dead_cause      text     dead-letter at once with this cause, or empty
--   7 retry_attempts  integer  failures a message may have and still be retried
--   8 base_s          float    backoff of the first failure, seconds
--   9 factor          float    growth of the backoff
--  10 max_s           float    longest backoff, seconds
--  11 jitter          float    0 to 1, multiplies the backoff
--  12 how             text     splice the tail, keep the entry, or replace it
--  13 expected        text     keep and replace: the entry the caller saw
--  14 replacement     text     replace: the new entry
--  15 attempts        integer  keep and replace: its delivery_attempts
-- RETURNS:
--   retried attempts|delay_us | dead attempts|cause entry | lost | unknown_tail '' entry | stale
-- INVARIANT: the message is in exactly one of reserved, a level and the DLQ; audit follows its text.
-- COST: O(log n); with audit O(position in the audit list).
local RESERVED, DEADLINES, INFLIGHT, LAPSES, CLOCK = KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HIGH, NORMAL, LOW, QUEUE, DLQ, DLQ_INFO = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local WAKE = KEYS[13]
local AUDIT, token, dead_cause = ARGV[3], ARGV[4], ARGV[6]
-- @include lane
if lane_answer then return lane_answer end
-- @include time
-- @include entry
-- @include inbox
-- @include tidy
-- @include audit
-- @include dead
-- @include settle
-- @include due

-- The entry with one more attempt and its error; nil where the tail is not one we know.
local function failed(entry)
  local start = tail_start(entry)
  local digits, rest = string.match(entry, '^%s*(%d+),%s*"last_error":%s*(.*)$', start or #entry)
  if not start or not digits or #digits > 9 then return nil end
  local stop
  if string.sub(rest, 1, 4) == 'null' then
    stop = 5
  elseif string.sub(rest, 1, 1) == '"' then
    local from = 2
    repeat
      local at = string.find(rest, '["\\]', from)
      if not at then return nil end
      if string.sub(rest, at, at) == '"' then stop = at + 1 else from = at + 2 end
    until stop
  else
    return nil
  end
  local remainder = string.sub(rest, stop)
  if not (string.match(remainder, '^%s*}$')
    or string.match(remainder, '^,%s*"nonce":%s*"%w+"%s*}$')
    or string.match(remainder, '^,%s*"expires_at":%s*%d+%s*}$')
    or string.match(remainder, '^,%s*"nonce":%s*"%w+",%s*"expires_at":%s*%d+%s*}$')) then
    return nil
  end
  local attempts = tonumber(digits) + 1
  return string.sub(entry, 1, start - 1) .. text(attempts) .. ',"last_error":' .. ARGV[5] .. remainder, attempts
end

local held = hold(token)
if not held then return remember('lost', '') end
local entry, attempts
if ARGV[12] == 'splice' then
  entry, attempts = failed(held.entry)
  if not entry then return {'unknown_tail', '', held.entry} end
elseif ARGV[13] ~= held.entry then
  return {'unknown_tail', '', held.entry}
else
  entry, attempts = ARGV[12] == 'replace' and ARGV[14] or held.entry, tonumber(ARGV[15])
end

local cause = dead_cause
if cause == '' and is_expired(entry, now) then cause = 'expired' end
if cause == '' and attempts > tonumber(ARGV[7]) then cause = 'retries exhausted' end
check_dead_letter_keys()
local sched = sched_of(held.level)
redis.call('ZCARD', sched)

if cause ~= '' then
  end_reservation(token)
  redis.call('RPUSH', DLQ, entry)
  redis.call('HSET', DLQ_INFO, entry_id(entry), cause .. '|' .. text(now))
  redis.call('HDEL', LAPSES, held.id)
  if AUDIT == '1' then drop_audit(held.entry) end
  tidy()
  remember('dead', text(attempts) .. '|' .. cause)
  return {'dead', text(attempts) .. '|' .. cause, entry}
end

local base, longest = tonumber(ARGV[8]), tonumber(ARGV[10])
local delay = base
if attempts > 1 and base > 0 then delay = base * tonumber(ARGV[9]) ^ (attempts - 1) end
delay = math.floor(math.min(delay, longest, 31536000) * tonumber(ARGV[11]) * 1000000)
local lapses = read_lapses(held.id)
local due = due_score(sched, now + delay)
end_reservation(token)
redis.call('ZADD', sched, text(due), entry)
if AUDIT == '1' then
  drop_audit(held.entry)
  redis.call('RPUSH', QUEUE, entry)
end
if held.id ~= entry_id(entry) then redis.call('HDEL', LAPSES, held.id) end
redis.call('HSET', LAPSES, entry_id(entry), lapses .. '|' .. held.deliveries)
-- @include wake
return remember('retried', text(attempts) .. '|' .. text(delay))
