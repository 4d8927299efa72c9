-- schedule_act: pause a schedule, resume or remove it, or run it once now, beside its plan. What it has enqueued goes on.
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _withdraw _lacking _accept _elements _runs _steps _straight _orders _start _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  name      of the schedule
-- ARGV[4]  act       'pause', 'resume', 'remove' or 'run'
-- ARGV[5]  version   as it was read, for resume and run
-- ARGV[6]  next      resume: its next moment (epoch ms), or '' (none)
-- ARGV[7]  by        who asks
-- ARGV[8]  job       run: its job in the words that submit takes, or its order in those of order_start
--
-- Returns  ok        'now', or 'was' if it already stood so; run: the id of the job, or order
--          missing   there is none of that name
--          changed   it has another version now: read it again
--          busy      run: it counts from the end of its last run, this job, which has not ended (T8)
--          chain     run: there is no such chain
--          closed    run: the namespace takes no new jobs
--          tenant    run: the namespace requires a tenant
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   schedule name, the act, by; submitted first, count
local lane, number, digest, name, act, version = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local next, by, FIRST = ARGV[6], ARGV[7], 8
local NEVER = '9007199254740991'

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'schedule:' .. name
local v = redis.call('HMGET', key, 'version', 'paused', 'after_end', 'last_job', 'chain')
if not v[1] then return lane_keep(lane, number, digest, {'missing'}) end
if (act == 'resume' or act == 'run') and v[1] ~= version then return lane_keep(lane, number, digest, {'changed'}) end
local alive = v[3] and v[4] and is_alive(redis.call('HGET', ns .. (v[5] and 'order:' or 'job:') .. v[4], 'state'))
local reply = 'now'
if act == 'run' then
  local gates = redis.call('HMGET', ns .. 'about', 'closed', 'tenant')
  if gates[1] then return lane_keep(lane, number, digest, {'closed'}) end
  if gates[2] and not names_field('tenant', FIRST + HEAD, #ARGV) then return lane_keep(lane, number, digest, {'tenant'}) end
  if alive then return lane_keep(lane, number, digest, {'busy', v[4]}) end
  if v[5] then
    if not is_chain(v[5]) then return lane_keep(lane, number, digest, {'chain', v[5]}) end
    reply = start_order(FIRST).id
  else
    local look, accept = acceptance()
    look(FIRST)
    local _, _, ids = accept()
    reply = ids[1]
  end
  redis.call('HSET', key, 'last_job', reply)
  if v[3] then
    redis.call('HDEL', key, 'next')
    redis.call('ZADD', ns .. 'schedules', NEVER, name)
    local over = v[5] and not is_alive(redis.call('HGET', ns .. 'order:' .. reply, 'state'))
    if over then tell_end(reply, '>' .. name) end  -- it had ended before its schedule knew it
  end
elseif act == 'remove' then
  redis.call('ZREM', ns .. 'schedules', name)
  redis.call('DEL', key)
elseif act == 'pause' then
  if v[2] then return lane_keep(lane, number, digest, {'ok', 'was'}) end
  redis.call('ZADD', ns .. 'schedules', NEVER, name)
  redis.call('HSET', key, 'paused', now .. ' ' .. by)
else
  if not v[2] then return lane_keep(lane, number, digest, {'ok', 'was'}) end
  redis.call('HDEL', key, 'paused', 'error')
  if next == '' or alive then
    redis.call('HDEL', key, 'next')  -- of one that counts from its run's end, that end sets it
    redis.call('ZADD', ns .. 'schedules', NEVER, name)
  else
    redis.call('HSET', key, 'next', next)
    redis.call('ZADD', ns .. 'schedules', next, name)
    alarm_anew({[name] = true}, 'schedules', '(' .. now)
  end
end
orders_done()
seats_done()
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'schedule', name, act, by)
audit(ns .. 'audit', by, act, 'schedule ' .. name)
return lane_keep(lane, number, digest, {'ok', reply})
