-- remove: forget jobs that wait or have ended. A running one is refused (Q23): cancel it first.
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _withdraw _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  by        who asks
-- ARGV[4]  states    one of which a job must be in, with blanks between them; '': any
-- ARGV[5]  moment    one that ended after it is left alone: epoch ms; '': none is
-- ARGV[6]  ids       of the jobs, at most 1,000
--
-- Returns  ok        then of each job a text: 'ok' and the state it was in; 'missing': no such job, or its record is damaged;
--                    'state' and the one in which it is: it cannot be removed now; 'order': it is a step of an order that
--                    waits for it
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   removed id, by
local lane, number, digest, by, states, moment, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], 6

local known = lane_known(lane, number, digest)
if known then return known end
local reply, done = {'ok'}, {}
for i = FIRST, #ARGV do
  local id = ARGV[i]
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'finished', 'type', 'uses', 'listeners', 'order')
  local state = job[1]
  local waits = state == 'ready' or state == 'scheduled'
  if not state or (state == 'ready' and not job[3]) then
    reply[#reply + 1] = 'missing'
  elseif state == 'running' or not is_chosen(state, job[2], states, moment) then
    reply[#reply + 1] = 'state ' .. state
  elseif waits and job[6] then
    reply[#reply + 1] = 'order'
  else
    if waits then
      leave_place(id, state, job[3], job[4])
    else
      leave_end(id, state, job[3])
    end
    finish(id, 'removed', job[5])  -- to no place: it is erased
    erase(id)
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'removed', id, 'by', by)
    done[#done + 1] = id
    reply[#reply + 1] = 'ok ' .. state
  end
end
if #done > 0 then redis.call('HINCRBY', ns .. 'about', 'removed', #done) end
seats_done()
audit_jobs(ns .. 'audit', by, 'remove', done)
return lane_keep(lane, number, digest, reply)
