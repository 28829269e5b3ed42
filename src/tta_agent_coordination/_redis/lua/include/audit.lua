-- Include: audit. Needs QUEUE.
-- The look at both ends comes first: a full LREM is paid only for what left the order.
local function drop_audit(entry)
  if redis.call('LINDEX', QUEUE, '0') == entry then
    redis.call('LPOP', QUEUE)
  elseif redis.call('LPOS', QUEUE, entry, 'RANK', -1, 'MAXLEN', 256) then
    redis.call('LREM', QUEUE, -1, entry)
  else
    redis.call('LREM', QUEUE, 1, entry)
  end
end
