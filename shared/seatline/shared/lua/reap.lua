-- reap: take back leases and sessions that a first look found expired, if one renewal interval later nothing about
-- them has changed. A live holder would have renewed meanwhile. So it is with workers that are silent, if something is
-- triggered by that: they are lost, once (Q20). Idempotent by comparison: unnumbered.
--
-- Needs    _base _bells _lines _seats _facts _finish _kept _withdraw _accept _elements _runs _steps _straight _orders
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  by        the worker that reaps
-- ARGV[2]  losses    a job lost so often is interrupted whatever its if_lost says
-- ARGV[3]  suspects  each four words: 'job', id, token, deadline or 'session', pool, owner|n, deadline or 'worker', id, '',
--                    until when it was live; at most 64 of a kind
--
-- Returns  ok        a word for each suspect: 'ready' (runs again, at its place), 'interrupted' (a person decides),
--                    'cancelled' (it had been asked to stop), 'freed' (a session), 'lost' (a worker), 'alive' (it was
--                    renewed or settled)
--
-- Events   reaped (id:state ..., or pool:freed, worker:lost), by
local by, most, FIRST = ARGV[1], tonumber(ARGV[2]), 3

-- Who had a job, and where, as far as it is still known: a worker's id begins with its host.
local function whereabouts(worker)
  local host = redis.call('HGET', ns .. 'worker:' .. worker, 'host') or string.match(worker, '^(.+)%.%d+%.%w+$')
  return worker .. (host and ' on ' .. host or '')
end

-- How many triggers lie before what a lost worker ran: of its jobs that were taken back before, and of those that were not.
local function depth_of(worker)
  local depth = tonumber(redis.call('GET', ns .. 'deep:' .. worker) or 0)
  for _, id in ipairs(redis.call('ZRANGE', ns .. 'running', 0, 999)) do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'worker', 'depth')
    if job[1] == worker then depth = math.max(depth, tonumber(job[2] or 0)) end
  end
  return depth
end

-- It is listed as lost for a day, and told of.
local function lose(worker, deadline)
  if redis.call('ZREM', ns .. 'workers', worker) == 0 then return 'alive' end
  redis.call('ZREMRANGEBYSCORE', ns .. 'lost', '-inf', now - 86400000)
  redis.call('ZADD', ns .. 'lost', deadline, worker)
  if facts().is_triggered('worker.lost') then facts().happened('worker.lost', depth_of(worker), {'worker', 'until'}, {worker, deadline}) end
  return 'lost'
end

local words, taken, out = {}, {}, {''}
for at = FIRST, #ARGV - 3, 4 do
  local kind, a, b, deadline = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  words[#words + 1] = 'alive'
  if kind == 'job' then
    local score = tonumber(redis.call('ZSCORE', ns .. 'running', a) or -1)
    local job = redis.call('HMGET', ns .. 'job:' .. a, 'state', 'token', 'seats', 'listeners', 'if_lost', 'losses',
      'type', 'uses', 'priority', 'cancel', 'worker', 'expires', 'order', 'depth', 'attempt', 'started')
    if score == deadline and score <= now and job[1] == 'running' and job[2] == b then
      taken[#words] = job
      out[#out + 1] = a
    end
  elseif kind == 'worker' then
    local score = tonumber(redis.call('ZSCORE', ns .. 'workers', a) or -1)
    if score == deadline and score <= now then taken[#words] = false end
  else
    local score = tonumber(redis.call('ZSCORE', ns .. 'programs', a .. '|' .. b) or -1)
    if score == deadline and score <= now then taken[#words] = true end
  end
end

redis.call('ZREM', ns .. 'running', unpack(out))
for i = 1, #words do
  local at = FIRST + 4 * (i - 1)
  local a, b, job = ARGV[at + 1], ARGV[at + 2], taken[i]
  if job == false then
    words[i] = lose(a, ARGV[at + 3])
  elseif job == true then
    words[i] = 'freed'
    redis.call('ZREM', ns .. 'programs', a .. '|' .. b)
    local owner, n = string.match(b, '^(.*)|(%d+)$')
    free_seats(a .. '=' .. n, owner)
  elseif job then
    local losses, worker, why = tonumber(job[6] or 0) + 1, job[11] or '?', nil
    if job[3] then free_seats(job[3], 'job:' .. a .. ':' .. b) end
    if job[11] and job[14] and facts().is_triggered('worker.lost') then
      local before = tonumber(redis.call('GET', ns .. 'deep:' .. worker) or 0)
      redis.call('SET', ns .. 'deep:' .. worker, math.max(before, tonumber(job[14])), 'PX', 86400000)
    end
    note_run(a, job[15], worker, job[16], 'lost')
    if job[10] then
      words[i] = 'cancelled'
      finish(a, 'cancelled', job[4], {'losses', losses})
    elseif job[5] == 'rerun' and losses < most and job[7] and job[9] then
      words[i] = 'ready'
      redis.call('HSET', ns .. 'job:' .. a, 'state', 'ready', 'losses', losses)
      line_up(a, job[7], job[8], job[9], job[12])
    else
      words[i] = 'interrupted'
      why = 'its worker ' .. whereabouts(worker) .. ' was lost while it ran ('
        .. (losses == 1 and 'lost once' or 'lost ' .. losses .. ' times') .. ')'
      finish(a, 'interrupted', job[4], {'losses', losses, 'error', why})
    end
    if job[13] and words[i] == 'ready' then
      orders().told(a, job[13], 'lost, to run again')
    elseif job[13] then
      orders().ended(a, job[13], words[i], '', {error = why})
    end
  end
end
finish_done()
orders_done()
seats_done()
local told = {}
for i = 1, #words do
  if words[i] ~= 'alive' then told[#told + 1] = ARGV[FIRST + 4 * (i - 1) + 1] .. ':' .. words[i] end
end
if #told > 0 then
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'reaped', table.concat(told, ' '), 'by', by)
end
return {'ok', words}
