-- leave: a worker goes, having handed back all it held. If a bell rang for it meanwhile, the next worker is rung.
-- Idempotent by nature.
--
-- Needs    _base _bells _lines
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  worker    its id
-- ARGV[2]  offer     digest of the types it supports
-- ARGV[3]  bell      the bell it waited on
--
-- Returns  ok        now
--
-- Events   left worker
local worker, offer, bell = ARGV[1], ARGV[2], ARGV[3]

redis.call('ZREM', ns .. 'idle:' .. offer, worker)
local rung = redis.call('LINDEX', ns .. 'bell:' .. bell, -1)
redis.call('DEL', ns .. 'bell:' .. bell)
if rung and rung ~= 'look' then ring_offer(offer, 1) end
if redis.call('GET', ns .. 'alarm') == worker then
  redis.call('DEL', ns .. 'alarm')
  ring_anyone()
end
redis.call('DEL', ns .. 'worker:' .. worker)
local stayed = redis.call('ZREM', ns .. 'workers', worker) == 1
redis.call('ZREM', ns .. 'lost', worker)  -- it had come back
local alone = true
for _, other in ipairs(redis.call('ZRANGEBYSCORE', ns .. 'workers', now, '+inf', 'LIMIT', 0, 1000)) do
  if redis.call('HGET', ns .. 'worker:' .. other, 'offer') == offer then alone = false end
end
if alone then forget_offer(offer) end
if stayed then redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'left', worker) end
return {'ok', now}
