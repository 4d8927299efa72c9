-- chain_define: store a chain, as a new version if its steps differ. Orders keep the version that they started with (O13).
--
-- Needs    _base _lane _bells _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  name      of the chain
-- ARGV[4]  plan      digest of its steps
-- ARGV[5]  by        who asks
-- ARGV[6]  title     or ''
-- ARGV[7]  most      orders at a time, or ''
-- ARGV[8]  fields    words for the hash of the version
--
-- Returns  ok        its version; 'new', 'changed' (a version was added) or 'same'
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   chain name, define, version, by
local lane, number, digest, name, plan, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local title, most, FIRST = ARGV[6], ARGV[7], 8

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'chain:' .. name
local before = redis.call('HGET', key, 'version')
local word = before and 'changed' or 'new'
if before and redis.call('HGET', key .. ':' .. before, 'digest') == plan then word = 'same' end
local version = before
if word ~= 'same' then
  version = string.format('%.0f', (before or 0) + 1)
  redis.call('HSET', key .. ':' .. version, 'digest', plan, 'made', now, 'by', by, unpack(ARGV, FIRST))
  if before and tonumber(redis.call('HGET', key .. ':' .. before, 'orders') or 0) <= 0 then
    redis.call('DEL', key .. ':' .. before)
  end
  redis.call('HSET', key, 'version', version, 'changed', now)
  redis.call('SADD', ns .. 'chains', name)
end
for field, value in pairs({title = title, max_orders = most}) do
  if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
end
-- More may enter now: workers see to it.
if redis.call('EXISTS', key .. ':waiting') == 1 then
  redis.call('ZADD', ns .. 'schedules', now, 'chain:' .. name)
  ring_anyone()
end
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'chain', name, 'define', version, 'by', by)
if word ~= 'same' then audit(ns .. 'audit', by, 'define', 'chain ' .. name, 'version ' .. version) end
return lane_keep(lane, number, digest, {'ok', version, word})
