-- resubmit: make ended jobs ready again: same id, params and priority, attempts counted anew, the old error kept in the
-- history and, with its traceback, among the attempts (Q22). Until when one was to start no longer counts.
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
-- ARGV[5]  moment    one that ended after it is left alone: epoch ms; '': none is
-- ARGV[6]  ids       of the jobs, at most 1,000
--
-- Returns  ok        then of each job a text: 'ok' and the state it had ended in; 'missing': no such job, or its record is
--                    damaged; 'state' and the one in which it is: it has not ended, or anew; 'order': it is a step of an
--                    order; 'duplicate' and the id of the job that has its key now
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   resubmitted id, by
local lane, number, digest, by, states, moment, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], 6

local known = lane_known(lane, number, digest)
if known then return known end
local reply, done = {'ok'}, {}
for i = FIRST, #ARGV do
  local id = ARGV[i]
  local key = ns .. 'job:' .. id
  local job = redis.call('HMGET', key, 'state', 'finished', 'type', 'uses', 'priority', 'error_type', 'error', 'attempt',
    'worker', 'traceback', 'cancel', 'order', 'unique', 'started')
  local state, unique = job[1], job[13]
  local other = unique and redis.call('GET', ns .. 'unique:' .. unique)
  if not (state and job[3] and job[5]) then
    reply[#reply + 1] = 'missing'
  elseif state == 'ready' or state == 'scheduled' or state == 'running' or not is_chosen(state, job[2], states, moment) then
    reply[#reply + 1] = 'state ' .. state
  elseif job[12] then
    reply[#reply + 1] = 'order'
  elseif other and other ~= id then
    reply[#reply + 1] = 'duplicate ' .. other
  else
    if unique then
      redis.call('SET', ns .. 'unique:' .. unique, id)
      redis.call('HSET', key, 'listeners', '=' .. unique)
    end
    leave_end(id, state, job[3])
    local failed = job[7] and state ~= 'expired' and (state ~= 'cancelled' or job[11])
    if job[14] and not failed then note_run(id, job[8], job[9], job[14], state, job[2]) end
    note(id, 'resubmitted by ' .. by .. ' after ' .. state .. ' at attempt ' .. (job[8] or 0)
      .. (job[7] and ': ' .. (job[6] or '') .. ' ' .. job[7] or ''))
    if failed then
      -- Of one that ended while it waited for its next attempt it is there already. The text is attempt_text's, in job.py.
      redis.call('RPUSH', key .. ':attempts', (job[2] or now) .. ' attempt ' .. (job[8] or 0) .. ' by ' .. (job[9] or '?')
        .. (job[14] and ' from ' .. job[14] or '') .. ': '
        .. (job[6] or '?') .. '\n  ' .. string.gsub(string.sub(job[7], 1, 2000), '\n', '\n  ') .. '\n\n'
        .. string.sub(job[10] or '', -4000))
      redis.call('LTRIM', key .. ':attempts', -20, -1)
    end
    redis.call('HDEL', key, 'error_type', 'error', 'traceback', 'reason', 'result_until', 'finished', 'cancel', 'losses',
      'attempt', 'worker', 'started', 'token', 'seats', 'expires', 'progress', 'overdue')
    redis.call('DEL', key .. ':result')
    redis.call('HSET', key, 'state', 'ready')
    line_up(id, job[3], job[4], job[5])
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'resubmitted', id, 'by', by)
    done[#done + 1] = id
    reply[#reply + 1] = 'ok ' .. state
  end
end
audit_jobs(ns .. 'audit', by, 'resubmit', done)
return lane_keep(lane, number, digest, reply)
