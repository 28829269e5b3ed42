-- Include: score. Needs time, CLOCK.
-- Scores of an inbox only grow, so that neither a clock step nor a failover hides or reorders messages. They end at
-- 2^53, where one more is no more for a double: what gets that score is ready as long as the clock holds it.
local last_score = tonumber(redis.call('GET', CLOCK) or '0') or 0
if not (last_score >= 0 and last_score <= 9007199254740992) then last_score = 0 end
