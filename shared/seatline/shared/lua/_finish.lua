-- _finish: ends jobs. A finished job keeps its record until retention trims it, by age and by count (_kept). Whoever waits for the
-- end is rung; what a trigger of a built-in event is to hear of is written down in the same step (Q20). Needs _base, _bells,
-- _facts.
local ended = {}

-- Whoever waits for the end of this job or order hears of it. Among the bells stand marks: '>schedule' whose run it is,
-- '=key' and '~key' that it has: they are free again, if they are its own.
local function tell_end(id, listeners)
  for bell in string.gmatch(listeners or '', '%S+') do
    local mark, name = string.match(bell, '^([>=~])(.*)$')
    if not mark then
      ring_bell(bell)
    elseif mark ~= '>' then
      local key = ns .. (mark == '=' and 'unique:' or 'newest:') .. name
      if redis.call('GET', key) == id then redis.call('DEL', key) end
    else
      -- It was the run of a schedule that counts from its end: that comes again after its interval (T8).
      local key = ns .. 'schedule:' .. name
      local v = redis.call('HMGET', key, 'last_job', 'every', 'end', 'paused', 'after_end')
      local again = now + tonumber(v[2] or 0)
      if v[1] == id and v[2] and v[5] and again <= tonumber(v[3] or again) then
        redis.call('HSET', key, 'next', string.format('%.0f', again))
        if not v[4] then
          redis.call('ZADD', ns .. 'schedules', again, name)
          alarm_anew({[name] = true}, 'schedules', '(' .. now)
        end
      end
    end
  end
end

-- End one job; `more` are further fields, or nil. The zsets are written together by finish_done.
local function finish(id, state, listeners, more)
  if more then
    redis.call('HSET', ns .. 'job:' .. id, 'state', state, 'finished', now, unpack(more))
  else
    redis.call('HSET', ns .. 'job:' .. id, 'state', state, 'finished', now)
  end
  if state == 'failed' or state == 'interrupted' then facts().tell_of_job(id, 'job.' .. state) end
  local list = ended[state]
  if not list then
    list = {}
    ended[state] = list
  end
  list[#list + 1] = now
  list[#list + 1] = id
  if listeners and listeners ~= '' then
    tell_end(id, listeners)
    redis.call('HDEL', ns .. 'job:' .. id, 'listeners')
  end
end

-- Forget a job altogether.
local function erase(id)
  local key = ns .. 'job:' .. id
  local submission = redis.call('HGET', key, 'submission')
  if submission then redis.call('DEL', ns .. 'token:' .. submission) end
  redis.call('DEL', key, key .. ':result', key .. ':history', key .. ':attempts', key .. ':log', key .. ':events')
end
