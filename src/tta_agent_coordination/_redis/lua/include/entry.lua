-- Include: entry. Entries are opaque text but for their tail:
--   "delivery_attempts":N,"last_error":null|"...",["nonce":"...",]["expires_at":N]}
-- Decoding and encoding JSON here would change it ([] becomes {}, large integers round), so the tail is spliced.
local function entry_id(entry)
  if string.sub(entry, -28, -19) == ',"nonce":"' then return string.sub(entry, -18, -3) end
  local tail = string.sub(entry, -128)
  return string.match(tail, '"nonce":%s*"(%w+)"%s*}$')
    or string.match(tail, '"nonce":%s*"(%w+)",%s*"expires_at":%s*%d+%s*}$')
    or entry
end

local function is_expired(entry, now)
  if string.byte(entry, -2) == 34 then return false end
  local at = string.match(string.sub(entry, -64), ',%s*"expires_at":%s*(%d+)%s*}$')
  return at ~= nil and tonumber(at) <= now
end

-- The position behind the last plain "delivery_attempts": (inside a JSON string its quotes would be escaped).
local function tail_start(entry)
  local from, start = math.max(1, #entry - 16384), nil
  while true do
    local _, last = string.find(entry, '"delivery_attempts":', from, true)
    if not last then return start end
    from, start = last + 1, last + 1
  end
end

local function level_of(entry)
  local start = tail_start(entry)
  local head = start and string.sub(entry, math.max(1, start - 256), start - 1)
  local level = head
    and string.match(head, '"priority":%s*(%d+),%s*"enqueued_at":%s*[^,]-,%s*"delivery_attempts":$')
  if level == '9' or level == '1' then return level end
  return '5'
end
