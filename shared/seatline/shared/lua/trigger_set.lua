-- trigger_set: store what an event enqueues (Q20), in the place of what it enqueued before. Facts that wait for it wait for
-- this one now.
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
-- ARGV[5]  fields    words for its hash: coalesce (ms), jobs (how many), and of each of them 1.type, 1.priority, ...
--
-- Returns  ok        'new' or 'replaced'
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   trigger event, set, by
local lane, number, digest, event, by, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 5

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'trigger:' .. event
local before = redis.call('HMGET', key, 'version', 'created')
redis.call('SADD', ns .. 'triggers', event)
-- A version is never given twice, so nobody enqueues what he read of a trigger that was replaced meanwhile.
local version = redis.call('HINCRBY', ns .. 'about', 'versions', 1)
redis.call('DEL', key)
redis.call('HSET', key, 'version', version, 'created', before[2] or now, 'changed', now, 'by', by)
for at = FIRST, #ARGV, 400 do redis.call('HSET', key, unpack(ARGV, at, math.min(at + 399, #ARGV))) end
if redis.call('EXISTS', ns .. 'happened:' .. event) == 1 then redis.call('ZADD', ns .. 'schedules', now, 'event:' .. event) end
if event == 'worker.lost' and not before[1] then
  -- It begins now: whoever was lost before is not told of.
  local gone = redis.call('ZRANGEBYSCORE', ns .. 'workers', '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1000)
  for i = 1, #gone, 2 do
    redis.call('ZADD', ns .. 'lost', gone[i + 1], gone[i])
    redis.call('ZREM', ns .. 'workers', gone[i])
  end
end
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'trigger', event, 'set', by)
audit(ns .. 'audit', by, 'set', 'trigger ' .. event)
return lane_keep(lane, number, digest, {'ok', before[1] and 'replaced' or 'new'})
