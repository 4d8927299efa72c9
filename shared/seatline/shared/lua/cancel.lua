-- cancel: end waiting jobs at once; ask running ones to stop (Q23).
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _kept _withdraw _accept _elements _runs _steps _straight _orders _audit
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
-- Returns  ok        then of each job a text: 'ok cancelled', or 'ok asked': it runs; its worker is rung, and told with
--                    the renewal that follows; 'missing': no such job, or its record is damaged; 'state'
--                    and the one in which it is
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   cancelled id, by
local lane, number, digest, by, states, moment, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], 6

local known = lane_known(lane, number, digest)
if known then return known end
local reply, done = {'ok'}, {}
redis.call('ZREM', ns .. 'scheduled', '')
for i = FIRST, #ARGV do
  local id = ARGV[i]
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'finished', 'type', 'uses', 'listeners', 'worker', 'order')
  local state = job[1]
  local waits = state == 'ready' or state == 'scheduled'
  if not state or (state == 'ready' and not job[3]) then
    reply[#reply + 1] = 'missing'
  elseif not is_chosen(state, job[2], states, moment) then
    reply[#reply + 1] = 'state ' .. state
  elseif state == 'running' then
    redis.call('HSET', ns .. 'job:' .. id, 'cancel', now)
    note(id, 'cancel asked by ' .. by)
    ring_look(job[6] or '')
    done[#done + 1] = id
    reply[#reply + 1] = 'ok asked'
  elseif waits then
    leave_place(id, state, job[3], job[4])
    finish(id, 'cancelled', job[5])
    if job[7] then orders().ended(id, job[7], 'cancelled', '', {}) end
    note(id, 'cancelled by ' .. by)
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'cancelled', id, 'by', by)
    done[#done + 1] = id
    reply[#reply + 1] = 'ok cancelled'
  else
    reply[#reply + 1] = 'state ' .. state
  end
end
finish_done()
orders_done()
seats_done()
audit_jobs(ns .. 'acts', by, 'cancel', done)
return lane_keep(lane, number, digest, reply)
