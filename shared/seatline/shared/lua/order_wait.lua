-- order_wait: look whether an order has ended; if not, be rung when it does. Looking and registering are one step, so an end
-- cannot fall between. Idempotent by nature.
--
-- Needs    _base
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  id        of the order
-- ARGV[2]  number    what its start was told, or '': another one means that it is another order
-- ARGV[3]  bell      to be rung at its end
--
-- Returns  ended     now, the order's hash, its params and outputs
--          waits     state; the bell is registered
--          missing   no such order (or another one under that id)
--
-- Events   none
local id, number, bell = ARGV[1], ARGV[2], ARGV[3]
local key = ns .. 'order:' .. id

local v = redis.call('HMGET', key, 'state', 'number', 'listeners')
if not v[1] or (number ~= '' and v[2] ~= number) then return {'missing'} end
local state, listeners = v[1], v[3] or ''
if state == 'succeeded' or state == 'failed' or state == 'cancelled' then
  return {'ended', now, redis.call('HGETALL', key), redis.call('HGETALL', key .. ':data')}
end
if not string.find(' ' .. listeners .. ' ', ' ' .. bell .. ' ', 1, true) then
  -- As in wait: those who gave up stand there too, and marks.
  if #listeners > 2048 then
    listeners = string.gsub(string.gsub(' ' .. listeners, ' [^>=~%s]%S*', '', 1), '^ ', '')
  end
  redis.call('ZREM', ns .. 'running', '')  -- a full server lets the rest through
  redis.call('HSET', key, 'odd', 1, 'listeners', listeners == '' and bell or (listeners .. ' ' .. bell))
end
return {'waits', state}
