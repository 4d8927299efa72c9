-- sleep: a classic worker that found nothing logs out until it wakes (C2). Its presence and its offer last until then, so
-- it counts as live (Q15); it stands among the idle with no slot to be rung for, so its jobs' claims on seats count (S6)
-- and nobody rings it in place of one that can come. Idempotent by nature: unnumbered.
--
-- Needs    _base _bells _lines _seats _facts _finish _withdraw _accept _elements _runs _steps _straight _orders _promote _reserve _idle
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  worker    its id
-- ARGV[2]  offer     digest of the types it supports
-- ARGV[3]  sleep_ms  ms until it wakes
-- ARGV[4]  presence  ms for which it counts as live, and its claims count, after that: by then it must have looked
-- ARGV[5]  fields    words that follow for the worker's hash, then
-- ARGV[6]  words     state and the like
--
-- Returns  ok        until when it sleeps (epoch ms)
--
-- Events   asleep worker, until
local worker, offer, sleep_ms, presence = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local fields, FIRST = tonumber(ARGV[5]), 6
local wakes, lasts = string.format('%.0f', now + sleep_ms), sleep_ms + presence
local key, supported = ns .. 'worker:' .. worker, ns .. 'offer:' .. offer

local before = redis.call('HGET', key, 'bell')
redis.call('ZREM', ns .. 'idle:' .. offer, worker)
redis.call('HSET', key, 'offer', offer, 'seen', now, unpack(ARGV, FIRST, FIRST + fields - 1))
redis.call('HSET', key, 'bell', '', 'idle_until', now + lasts)  -- no bell: nobody listens
redis.call('PEXPIRE', key, lasts)
redis.call('ZADD', ns .. 'workers', now + lasts, worker)
redis.call('ZADD', ns .. 'idle:' .. offer, 0, worker)
if redis.call('PTTL', supported) < lasts then redis.call('PEXPIRE', supported, lasts) end  -- another may sleep longer
pass_alarm(worker)
-- Look once more, for nothing: what it leaves behind claims its seats now that this worker counts as idle.
local offered = redis.call('GET', supported)
if offered and redis.call('EXISTS', ns .. 'paused') == 0 then reserve(offer, offered, 0, worker, '', now, false) end
if before ~= '' then redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'asleep', worker, 'until', wakes) end
return {'ok', wakes}
