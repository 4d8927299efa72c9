-- session_open: a program asks for seats of a pool, or for its place in the pool's line (S10). Asked again while it
-- waits, it keeps its place; asked again while it holds, it holds the same session (S4).
--
-- Needs    _base _lane _bells _seats
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  pool      its name
-- ARGV[4]  owner     program:<name>:<token>; <token> is the bell it waits on
-- ARGV[5]  seats     wanted
-- ARGV[6]  ttl       ms the session lives unless renewed
-- ARGV[7]  priority  its place in the line, among jobs too
-- ARGV[8]  place     what 'waits' returned before, or ''
-- ARGV[9]  asks      ms for which its claim counts: until it asks again; 0: it does not wait
--
-- Returns  ok        deadline (epoch ms)
--          waits     place
--          never     capacity less external use: fewer than wanted
--          missing   no such pool
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   session pool, owner
local lane, number, digest, name, owner = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local seats, ttl, priority, place, asks = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])

local known = lane_known(lane, number, digest)
if known then return known end
local pool = pool_of(name)
local deadline = string.format('%.0f', now + ttl)
local member = owner .. '|' .. seats
if not pool.known then return lane_keep(lane, number, digest, {'missing'}) end
if not redis.call('ZSCORE', pool.key .. ':sessions', member) then
  if place == '' then
    -- After all that came before, before all that comes later.
    place = string.format('%016.0f', tonumber(redis.call('GET', ns .. 'seq') or 0)) .. ':' .. member
  end
  if seats_free(pool, priority, place) < seats then
    local at_all = pool.refused and seats or seats_at_all(pool, priority)  -- a refusal passes: it may wait
    if asks == 0 or at_all < seats then
      redis.call('ZREM', pool.key .. ':callers', place)
      if redis.call('ZREM', pool.key .. ':waiting', place) == 1 then
        pool.look = true
        seats_done()
      end
      return lane_keep(lane, number, digest, at_all < seats and {'never', at_all} or {'waits', ''})
    end
    redis.call('ZADD', pool.key .. ':callers', now + asks, place)
    redis.call('ZADD', pool.key .. ':waiting', priority, place)
    return lane_keep(lane, number, digest, {'waits', place})
  end
  unclaim(pool, place)
  redis.call('ZREM', pool.key .. ':callers', place)
  pool.used = pool.used + seats
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'session', name, 'owner', owner)
end
redis.call('ZADD', pool.key .. ':sessions', deadline, member)
redis.call('ZADD', ns .. 'programs', deadline, name .. '|' .. member)
pool.dirty, pool.life = true, math.max(pool.life, 2 * ttl)
seats_done()
return lane_keep(lane, number, digest, {'ok', deadline})
