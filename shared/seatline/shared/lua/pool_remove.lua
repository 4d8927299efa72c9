-- pool_remove: forget a pool that nobody holds seats of. Jobs that name it wait, flagged, until it is there again.
--
-- Needs    _base _lane _bells _seats _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  name      of the pool
-- ARGV[4]  by        who asks
--
-- Returns  ok        nothing more
--          missing   no such pool
--          busy      sessions that hold seats
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   pool name
local lane, number, digest, name, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'pool:' .. name
local held = redis.call('ZCARD', key .. ':sessions')
if redis.call('EXISTS', key) == 0 then return lane_keep(lane, number, digest, {'missing'}) end
if held > 0 then return lane_keep(lane, number, digest, {'busy', held}) end
redis.call('ZREM', key .. ':sessions', '')
redis.call('DEL', key, key .. ':in_use', key .. ':waiting', key .. ':callers', key .. ':refused')
redis.call('SREM', ns .. 'pools', name)
ring_everyone()
look_everywhere()
seats_done()
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'pool', name)
audit(ns .. 'audit', by, 'remove', 'pool ' .. name)
return lane_keep(lane, number, digest, {'ok'})
