-- remove: forget a job that waits or has ended. A running one is refused (Q23): cancel it first.
--
-- Needs    _base _lane _bells _lines _seats _finish _withdraw
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  id        of the job
-- ARGV[4]  by        who asks
--
-- Returns  ok        the state it was in
--          missing   no such job
--          state     'running': it cannot be removed now; 'order': it is a step of an order that waits for it
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   removed id, by
local lane, number, digest, id, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = lane_known(lane, number, digest)
if known then return known end
local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'type', 'uses', 'listeners', 'order')
local state = job[1]
if not state then return lane_keep(lane, number, digest, {'missing'}) end
if state == 'running' then return lane_keep(lane, number, digest, {'state', state}) end
if state == 'ready' or state == 'scheduled' then
  if job[5] then return lane_keep(lane, number, digest, {'state', 'order'}) end
  withdraw(id, state, job[2], job[3])
else
  redis.call('ZREM', ns .. 'finished:' .. state, id)
end
finish(id, 'removed', job[4])  -- to no place: it is erased
erase(id)
redis.call('HINCRBY', ns .. 'about', 'removed', 1)
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'removed', id, 'by', by)
return lane_keep(lane, number, digest, {'ok', state})
