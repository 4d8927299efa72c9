-- order_expand: keep a list's elements for the step that is to run once for each (O14). Sent in pieces by the worker that
-- expands it, before it reports how many there are. Idempotent by nature: unnumbered.
--
-- Needs    _base
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  id        of the job that expands the list
-- ARGV[2]  token     of its lease
-- ARGV[3]  order     its order
-- ARGV[4]  step      its step
-- ARGV[5]  start     index of the first element that follows
-- ARGV[6]  base      the params that all have in common, packed; '' = they were sent
-- ARGV[7]  elements  packed, at most 1,000
--
-- Returns  ok        kept
--          stale     the lease was not the sender's (any more), or the order is lost
--
-- Events   none
local id, token, order, step, start, base, FIRST = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], 7

local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token')
local known = redis.call('HMGET', ns .. 'order:' .. order, 'number', 'eached')
if job[1] ~= 'running' or job[2] ~= token or not known[1] then return {'stale'} end
local key, words = ns .. 'order:' .. order .. ':each:' .. step, {}
if base ~= '' then
  -- It is listed first: whatever becomes of the expansion, what it has stored goes with the order.
  if not string.find(' ' .. (known[2] or '') .. ' ', ' ' .. step .. ' ', 1, true) then
    redis.call('HSET', ns .. 'order:' .. order, 'odd', 1, 'eached', (known[2] and known[2] .. ' ' or '') .. step)
  end
  words = {'base', base}
end
for at = FIRST, #ARGV do
  words[#words + 1], words[#words + 2] = 'e.' .. string.format('%.0f', start + at - FIRST), ARGV[at]
end
for i = 1, #words, 400 do redis.call('HSET', key, unpack(words, i, math.min(i + 399, #words))) end
return {'ok'}
