-- pool_set: make a pool, or change its capacity. Lowered below what is held, nobody new gets in until it fits (S2). A
-- refusal of the licence server is forgotten: whoever sets the pool says that it is good again (C16).
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
-- ARGV[5]  fields    words that follow for its hash
-- ARGV[6]  words     capacity N, keep N, keep_priority N
--
-- Returns  ok        'new' or 'changed'
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   pool name
local lane, number, digest, name, by, fields, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), 6

local known = lane_known(lane, number, digest)
if known then return known end
redis.call('HSET', ns .. 'pool:' .. name, unpack(ARGV, FIRST, FIRST + fields - 1))
redis.call('DEL', ns .. 'pool:' .. name .. ':refused')
local new = redis.call('SADD', ns .. 'pools', name)
ring_everyone()
look_everywhere()
seats_done()
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'pool', name)
audit(ns .. 'audit', by, 'set', 'pool ' .. name, table.concat(ARGV, ' ', FIRST, FIRST + fields - 1))
return lane_keep(lane, number, digest, {'ok', new == 1 and 'new' or 'changed'})
