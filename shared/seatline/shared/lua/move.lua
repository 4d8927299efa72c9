-- move: give waiting jobs another priority in one step: same ids and sequence, recorded in their history (Q6).
--
-- Needs    _base _lane _bells _lines _seats _withdraw _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  by        who asks
-- ARGV[4]  states    one of which a job must be in, with blanks between them; '': any
-- ARGV[5]  priority  the new one
-- ARGV[6]  ids       of the jobs, at most 1,000
--
-- Returns  ok        then of each job a text: 'ok', its state, its old priority and the jobs ahead of it in its line (-1: it
--                    is scheduled); 'missing': no such job, or its record is damaged; 'state' and the one in which it is
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   moved id, by, priority
local lane, number, digest, by, states, priority, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], 6

local known = lane_known(lane, number, digest)
if known then return known end
local reply, done = {'ok'}, {}
for i = FIRST, #ARGV do
  local id = ARGV[i]
  local key = ns .. 'job:' .. id
  local job = redis.call('HMGET', key, 'state', 'type', 'uses', 'priority')
  local state, ahead = job[1], -1
  if not (state and job[2] and job[4]) then
    reply[#reply + 1] = 'missing'
  elseif (state ~= 'ready' and state ~= 'scheduled') or not is_chosen(state, nil, states, '') then
    reply[#reply + 1] = 'state ' .. state
  else
    redis.call('HSET', key, 'priority', priority)
    note(id, 'moved by ' .. by .. ' from priority ' .. job[4] .. ' to ' .. priority)
    if state == 'ready' then
      leave_place(id, state, job[2], job[3])
      line_up(id, job[2], job[3], priority)
      ahead = redis.call('ZRANK', line_key(job[2], job[3]), id)
    end
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'moved', id, 'by', by, 'priority', priority)
    done[#done + 1] = id
    reply[#reply + 1] = 'ok ' .. state .. ' ' .. job[4] .. ' ' .. ahead
  end
end
seats_done()
audit_jobs(ns .. 'audit', by, 'move', done, ' to priority ' .. priority)
return lane_keep(lane, number, digest, reply)
