-- schedule_set: store a schedule (T6), or replace the one of that name, which stays paused if it is; what runs of it goes on.
--
-- Needs    _base _lane _bells _lacking _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  name      of the schedule
-- ARGV[4]  replace   '1': one that exists is replaced
-- ARGV[5]  next      its first moment (epoch ms)
-- ARGV[6]  by        who asks
-- ARGV[7]  fields    words for its hash: when it runs, and those of its job
--
-- Returns  ok        'new' or 'replaced'
--          exists    there is one of that name
--          tenant    the namespace requires a tenant, its job names none
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   schedule name, set, by
local lane, number, digest, name, replace, next, by, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], 7

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'schedule:' .. name
local before = redis.call('HMGET', key, 'version', 'last', 'last_job', 'created', 'paused')
if before[1] and replace ~= '1' then return lane_keep(lane, number, digest, {'exists'}) end
if redis.call('HEXISTS', ns .. 'about', 'tenant') == 1 and not names_field('tenant', FIRST, #ARGV) then
  return lane_keep(lane, number, digest, {'tenant'})
end
-- A version is never given twice, so nobody fires what he read of a schedule that was replaced meanwhile.
local version = redis.call('HINCRBY', ns .. 'about', 'versions', 1)
redis.call('DEL', key)
redis.call('HSET', key, 'version', version, 'created', before[4] or now, 'by', by, unpack(ARGV, FIRST))
if before[3] then redis.call('HSET', key, 'last', before[2] or '', 'last_job', before[3]) end
redis.call('HSET', key, 'next', next)
if before[5] then redis.call('HSET', key, 'paused', before[5]) end
redis.call('ZADD', ns .. 'schedules', before[5] and '9007199254740991' or next, name)
if not before[5] then alarm_anew({[name] = true}, 'schedules', '(' .. now) end
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'schedule', name, 'set', by)
audit(ns .. 'audit', by, 'set', 'schedule ' .. name)
return lane_keep(lane, number, digest, {'ok', before[1] and 'replaced' or 'new'})
