-- Purpose: read what is known of one agent.
-- KEYS:
--   1 members  hash    name -> epoch|ttl|seen|flags|status|entry
--   2 pause    string  until when deaths are held back, microseconds
--   3 agent    string  v0's JSON of this agent
-- ARGV:
--   1 name    text     type:instance
--   2 now_us  integer  manual clock in microseconds, or empty for TIME
-- RETURNS:
--   ok now pause member v0
-- INVARIANT: writes nothing. member and v0 are empty where there is none.
-- COST: O(1).
local MEMBERS, PAUSE, AGENT = KEYS[1], KEYS[2], KEYS[3]
-- @include time
local member, entry = redis.call('HGET', MEMBERS, ARGV[1]), redis.call('GET', AGENT)
return {'ok', now_text, redis.call('GET', PAUSE) or '0', member or '', entry or ''}
