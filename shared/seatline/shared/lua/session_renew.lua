-- session_renew: keep a program's session alive.
--
-- Needs    _base _lane
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  pool      its name
-- ARGV[4]  member    owner|n
-- ARGV[5]  ttl       ms the session lives from now
--
-- Returns  ok        deadline (epoch ms)
--          lost      it was reaped: its seats may be somebody else's
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   none
local lane, number, digest, name, member, ttl = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'pool:' .. name
if not redis.call('ZSCORE', key .. ':sessions', member) then return lane_keep(lane, number, digest, {'lost'}) end
local deadline = string.format('%.0f', now + ttl)
redis.call('ZREM', ns .. 'programs', '')
redis.call('ZADD', key .. ':sessions', 'XX', deadline, member)
redis.call('ZADD', ns .. 'programs', deadline, name .. '|' .. member)
redis.call('PEXPIRE', key .. ':in_use', math.max(60000, 2 * ttl))
return lane_keep(lane, number, digest, {'ok', deadline})
