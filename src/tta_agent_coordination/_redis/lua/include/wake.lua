-- Include: wake. Needs WAKE.
-- One marker an inbox, however much is due: a hint. Who pops it looks, and sets it again while more is due. As the
-- inbox's own data, it must not fail what is done already; where it fails, who waits looks within two seconds.
redis.pcall('ZADD', WAKE, '0', '1')
