-- pool_external: tell how many seats of a pool are used outside Seatline; they are withheld until that report
-- expires (S8).
--
-- Needs    _base _lane _bells _seats _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  name      of the pool
-- ARGV[4]  seats     used outside
-- ARGV[5]  ttl       ms until the report expires
-- ARGV[6]  by        who asks
--
-- Returns  ok        until (epoch ms)
--          missing   no such pool
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   pool name
local lane, number, digest, name, seats, ttl, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'pool:' .. name
if redis.call('EXISTS', key) == 0 then return lane_keep(lane, number, digest, {'missing'}) end
redis.call('HSET', key, 'external', seats, 'external_until', string.format('%.0f', now + ttl))
ring_everyone()
look_everywhere()
seats_done()
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'pool', name)
audit(ns .. 'audit', by, 'external', 'pool ' .. name, seats .. ' seats')
return lane_keep(lane, number, digest, {'ok', string.format('%.0f', now + ttl)})
