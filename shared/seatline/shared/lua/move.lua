-- move: give a waiting job another priority in one step: same id and sequence, recorded in its history (Q6).
--
-- Needs    _base _lane _bells _lines _seats _withdraw
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  id        of the job
-- ARGV[4]  by        who asks
-- ARGV[5]  priority  the new one
--
-- Returns  ok        state, old priority, jobs ahead of it in its line (-1: it is scheduled)
--          missing   no such job, or its record is damaged
--          state     the state it is in: it does not wait
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   moved id, by, priority
local lane, number, digest, id, by, priority = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'job:' .. id
local job = redis.call('HMGET', key, 'state', 'type', 'uses', 'priority')
local state, ahead = job[1], -1
if not (state and job[2] and job[4]) then return lane_keep(lane, number, digest, {'missing'}) end
if state ~= 'ready' and state ~= 'scheduled' then return lane_keep(lane, number, digest, {'state', state}) end
redis.call('HSET', key, 'priority', priority)
note(id, 'moved by ' .. by .. ' from priority ' .. job[4] .. ' to ' .. priority)
if state == 'ready' then
  withdraw(id, state, job[2], job[3])
  line_up(id, job[2], job[3], priority)
  ahead = redis.call('ZRANK', line_key(job[2], job[3]), id)
end
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'moved', id, 'by', by, 'priority', priority)
return lane_keep(lane, number, digest, {'ok', state, job[4], ahead})
