-- _finish: ends jobs. A finished job keeps its record until retention trims it, by age and by count; only
-- interrupted ones wait for a person. Whoever waits for the end is rung. What a trigger of a built-in event is to hear of
-- is written down in the same step (Q20). Needs _base, _bells.
local ended, triggered, newly_told = {}, {}, {}

-- Whether something is triggered by an event.
local function is_triggered(event)
  if triggered[event] == nil then triggered[event] = redis.call('EXISTS', ns .. 'trigger:' .. event) == 1 end
  return triggered[event]
end

-- An event has happened, and something is triggered by it: a worker is to make the jobs. A fact is one text, names and
-- values in turn, each as a netstring: its length, ':', itself, ','. `depth`: how many triggers lie before what has caused it;
-- beyond the limit there is no further one, which the history of the job `id` tells.
local function happened(event, depth, names, values, id)
  local FACTS_MOST, DEPTH_MOST = 100000, 8
  local key, parts = ns .. 'happened:' .. event, {}
  depth = tonumber(depth or 0) + 1
  if depth > DEPTH_MOST then
    local history = ns .. 'job:' .. (id or '') .. ':history'
    local line = ' event ' .. event .. ' triggers nothing: ' .. DEPTH_MOST .. ' triggers lie before it, which is the limit'
    redis.call('HINCRBY', ns .. 'trigger:' .. event, 'missed', 1)
    if id then redis.call('RPUSH', history, now .. line) end
    if id then redis.call('LTRIM', history, -100, -1) end
    return
  end
  local function say(name, value) parts[#parts + 1] = #name .. ':' .. name .. ',' .. #value .. ':' .. value .. ',' end
  for i, name in ipairs(names) do
    if values[i] then say(name, values[i]) end
  end
  say('depth', '' .. depth)
  say('at', '' .. now)
  if redis.call('LLEN', key) >= FACTS_MOST then
    redis.call('HINCRBY', ns .. 'trigger:' .. event, 'missed', 1)
  elseif redis.call('RPUSH', key, table.concat(parts)) == 1 then
    redis.call('ZADD', ns .. 'schedules', now, 'event:' .. event)
    newly_told[#newly_told + 1] = 'event:' .. event
    ring_anyone()
  end
end

-- What is due, and the events of this very call: the worker that makes it need not be told of them by another.
local function with_events(planned)
  for _, name in ipairs(newly_told) do planned[#planned + 1] = name end
  return planned
end

local function tell_of_job(id, event)
  local names = {'type', 'state', 'attempt', 'error_type', 'error', 'worker', 'title', 'tags', 'tenant', 'order', 'chain', 'step'}
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'depth', unpack(names))
  local depth = table.remove(job, 1)
  names[#names + 1], job[#names + 1] = 'job', id
  happened(event, depth, names, job, id)
end

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
  if (state == 'failed' or state == 'interrupted') and is_triggered('job.' .. state) then tell_of_job(id, 'job.' .. state) end
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

local function finish_done()
  for state, list in pairs(ended) do
    for i = 1, #list, 400 do
      redis.call('ZADD', ns .. 'finished:' .. state, unpack(list, i, math.min(i + 399, #list)))
    end
  end
end

-- Forget a job altogether.
local function erase(id)
  local key = ns .. 'job:' .. id
  local submission = redis.call('HGET', key, 'submission')
  if submission then redis.call('DEL', ns .. 'token:' .. submission) end
  redis.call('DEL', key, key .. ':result', key .. ':history', key .. ':attempts', key .. ':log', key .. ':events')
end

-- Trim at most `most` finished jobs of a state: the oldest above keep_count, else those older than keep_ms.
local function trim(state, keep_ms, keep_count, most)
  local key = ns .. 'finished:' .. state
  local excess = redis.call('ZCARD', key) - keep_count
  local old
  if excess > 0 then
    old = redis.call('ZRANGE', key, 0, math.min(excess, most) - 1)
  else
    old = redis.call('ZRANGEBYSCORE', key, '-inf', now - keep_ms, 'LIMIT', 0, most)
  end
  if #old == 0 then return end
  redis.call('ZREM', key, unpack(old))
  for _, id in ipairs(old) do erase(id) end
  redis.call('HINCRBY', ns .. 'about', 'trimmed', #old)
end
