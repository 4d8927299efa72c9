-- session_close: a program gives back its seats, or leaves the pool's line.
--
-- Needs    _base _lane _bells _seats
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  pool      its name
-- ARGV[4]  owner     program:<name>:<token>
-- ARGV[5]  seats     held or wanted
-- ARGV[6]  place     in the line, or ''
--
-- Returns  ok        'closed', or 'gone' if it held nothing (any more)
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   closed pool, owner
local lane, number, digest, name, owner, seats, place = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local known = lane_known(lane, number, digest)
if known then return known end
local held = redis.call('ZREM', ns .. 'programs', name .. '|' .. owner .. '|' .. seats)
free_seats(name .. '=' .. seats, owner)
if place ~= '' and redis.call('ZREM', ns .. 'pool:' .. name .. ':waiting', place) == 1 then
  redis.call('ZREM', ns .. 'pool:' .. name .. ':callers', place)
  pool_of(name).look = true
end
seats_done()
if held == 1 then redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'closed', name, 'owner', owner) end
return lane_keep(lane, number, digest, {'ok', held == 1 and 'closed' or 'gone'})
