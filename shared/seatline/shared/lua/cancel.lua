-- cancel: end a waiting job at once; ask a running one to stop (Q23).
--
-- Needs    _base _lane _bells _lines _seats _finish _withdraw _accept _elements _runs _steps _orders
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  id        of the job
-- ARGV[4]  by        who asks
--
-- Returns  ok        'cancelled', or 'asked': it runs; its worker is rung, and told with the renewal that follows
--          missing   no such job
--          state     the state in which it has already ended
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   cancelled id, by
local lane, number, digest, id, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = lane_known(lane, number, digest)
if known then return known end
local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'type', 'uses', 'listeners', 'worker', 'order')
local state, reply = job[1], nil
redis.call('ZREM', ns .. 'scheduled', '')
if not state then
  reply = {'missing'}
elseif state == 'running' then
  redis.call('HSET', ns .. 'job:' .. id, 'cancel', now)
  note(id, 'cancel asked by ' .. by)
  ring_look(job[5] or '')
  reply = {'ok', 'asked'}
elseif state == 'ready' or state == 'scheduled' then
  leave_place(id, state, job[2], job[3])
  finish(id, 'cancelled', job[4])
  if job[6] then orders().ended(id, job[6], 'cancelled', '', {}) end
  finish_done()
  orders_done()
  seats_done()
  note(id, 'cancelled by ' .. by)
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'cancelled', id, 'by', by)
  reply = {'ok', 'cancelled'}
else
  reply = {'state', state}
end
return lane_keep(lane, number, digest, reply)
