-- trigger_remove: forget what an event enqueues; the jobs that it has enqueued go on.
--
-- Needs    _base _lane _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  event     its name
-- ARGV[4]  by        who asks
--
-- Returns  ok        how many facts waited for it, and are forgotten with it
--          missing   nothing is triggered by it
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   trigger event, removed, by
local lane, number, digest, event, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = lane_known(lane, number, digest)
if known then return known end
local waited = redis.call('LLEN', ns .. 'happened:' .. event)
local listed = redis.call('SREM', ns .. 'triggers', event)
local gone = redis.call('DEL', ns .. 'trigger:' .. event)
if listed + gone == 0 then return lane_keep(lane, number, digest, {'missing'}) end
redis.call('DEL', ns .. 'happened:' .. event)
redis.call('ZREM', ns .. 'schedules', 'event:' .. event)
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'trigger', event, 'removed', by)
audit(ns .. 'audit', by, 'remove', 'trigger ' .. event)
return lane_keep(lane, number, digest, {'ok', waited})
