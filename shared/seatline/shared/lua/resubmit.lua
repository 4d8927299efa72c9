-- resubmit: make an ended job ready again: same id, params and priority, attempts counted anew, the old error kept in
-- its history and, with its traceback, among its attempts (Q22). Until when it was to start no longer counts.
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
--
-- Returns  ok        the state it had ended in
--          missing   no such job, or its record is damaged
--          duplicate  id: that job has its key now
--          state     the state it is in: it has not ended; 'order': it is a step of an order
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   resubmitted id, by
local lane, number, digest, id, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'job:' .. id
local job = redis.call('HMGET', key, 'state', 'type', 'uses', 'priority', 'error_type', 'error', 'attempt',
  'worker', 'traceback', 'cancel', 'order', 'unique')
local state = job[1]
if not (state and job[2] and job[4]) then return lane_keep(lane, number, digest, {'missing'}) end
if state == 'ready' or state == 'scheduled' or state == 'running' then
  return lane_keep(lane, number, digest, {'state', state})
end
if job[11] then return lane_keep(lane, number, digest, {'state', 'order'}) end
if job[12] then
  local other = redis.call('GET', ns .. 'unique:' .. job[12])
  if other and other ~= id then return lane_keep(lane, number, digest, {'duplicate', other}) end
  redis.call('SET', ns .. 'unique:' .. job[12], id)
  redis.call('HSET', key, 'listeners', '=' .. job[12])
end
redis.call('ZREM', ns .. 'finished:' .. state, id)
note(id, 'resubmitted by ' .. by .. ' after ' .. state .. ' at attempt ' .. (job[7] or 0)
  .. (job[6] and ': ' .. (job[5] or '') .. ' ' .. job[6] or ''))
if job[6] and state ~= 'expired' and (state ~= 'cancelled' or job[10]) then
  -- Of one that ended while it waited for its next attempt it is there already. The text is attempt_text's, in job.py.
  redis.call('RPUSH', key .. ':attempts', now .. ' attempt ' .. (job[7] or 0) .. ' by ' .. (job[8] or '?') .. ': '
    .. (job[5] or '?') .. '\n  ' .. string.gsub(string.sub(job[6], 1, 2000), '\n', '\n  ') .. '\n\n'
    .. string.sub(job[9] or '', -4000))
  redis.call('LTRIM', key .. ':attempts', -20, -1)
end
redis.call('HDEL', key, 'error_type', 'error', 'traceback', 'reason', 'result_until', 'finished', 'cancel', 'losses',
  'attempt', 'worker', 'started', 'token', 'seats', 'expires', 'progress', 'overdue')
redis.call('DEL', key .. ':result')
redis.call('HSET', key, 'state', 'ready')
line_up(id, job[2], job[3], job[4])
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'resubmitted', id, 'by', by)
return lane_keep(lane, number, digest, {'ok', state})
