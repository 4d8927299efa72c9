-- _finish: ends jobs. A finished job keeps its record until retention trims it, by age and by count; only
-- interrupted ones wait for a person. Whoever waits for the end is rung. What a trigger of a built-in event is to hear of
-- is written down in the same step (Q20). Needs _base, _bells.
local ended, triggered, newly_told, kept_text = {}, {}, {}, nil

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

-- Retention as people have set it: a text of <state>=<ms>/<count> and <state>|<type>=<ms>/<count>, each between blanks.
local function kept_rules()
  if not kept_text then kept_text = redis.call('GET', ns .. 'keep') or '' end
  return kept_text
end

-- The age (ms) and the count that somebody has set for this state, or nil.
local function kept_of(state)
  local _, last = string.find(kept_rules(), ' ' .. state .. '=', 1, true)
  if not last then return nil end
  local ms, count = string.match(kept_text, '^(%d+)/(%d+)', last + 1)
  return tonumber(ms), tonumber(count)
end

-- The types that have a rule of their own for this state -> {ms, count}, or nil: none has.
local function kept_types(state)
  if not string.find(kept_rules(), ' ' .. state .. '|', 1, true) then return nil end
  local own = {}
  for name, type, ms, count in string.gmatch(kept_text, '(%a+)|([^ =]+)=(%d+)/(%d+)') do
    if name == state then own[type] = {tonumber(ms), tonumber(count)} end
  end
  return own
end

local function finish_done()
  for state, list in pairs(ended) do
    for i = 1, #list, 400 do
      redis.call('ZADD', ns .. 'finished:' .. state, unpack(list, i, math.min(i + 399, #list)))
    end
    local own = kept_types(state)
    -- A clock that was set back: this end lies before what retention has passed over already.
    local passed = own and string.match(redis.call('HGET', ns .. 'about', 'passed.' .. state) or '', '%d+')
    if passed and tonumber(passed) > now then redis.call('HDEL', ns .. 'about', 'passed.' .. state) end
    for i = 2, own and #list or 0, 2 do
      local type = redis.call('HGET', ns .. 'job:' .. list[i], 'type')
      if type and own[type] then redis.call('ZADD', ns .. 'finished:' .. state .. '|' .. type, list[i - 1], list[i]) end
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

-- The oldest of a list of ended jobs: those above a count, else those older than so many ms.
local function outdated(key, ms, excess, most)
  if excess > 0 then return redis.call('ZRANGE', key, 0, math.min(excess, most) - 1) end
  return redis.call('ZRANGEBYSCORE', key, '-inf', now - ms, 'LIMIT', 0, most)
end

-- The same where types have rules of their own: their jobs are passed over, and stand in lists of their own; one that had
-- ended before its type had a rule comes to its list here. What has been passed is not looked at again (about: passed.<state>);
-- but a thousand of one ms are, and what more there is of it.
local function outdated_others(key, state, own, ms, excess, most)
  local PAGE = 1000
  local field = 'passed.' .. state
  local from, old, last = redis.call('HGET', ns .. 'about', field) or '-inf', {}, nil
  local until_ms = excess > 0 and '+inf' or now - ms
  local page = redis.call('ZRANGEBYSCORE', key, from, until_ms, 'WITHSCORES', 'LIMIT', 0, PAGE)
  for i = 1, #page, 2 do
    local id, ended_at = page[i], page[i + 1]
    local type = redis.call('HGET', ns .. 'job:' .. id, 'type')
    if type and own[type] then
      excess = excess - redis.call('ZADD', key .. '|' .. type, ended_at, id)
      last = ended_at
    elseif #old < most and (excess > 0 or tonumber(ended_at) <= now - ms) then
      old[#old + 1], excess = id, excess - 1
    else
      break
    end
  end
  if last == from and #old == 0 and #page == 2 * PAGE then last = '(' .. last end
  if last and last ~= from then redis.call('HSET', ns .. 'about', field, last) end
  return old
end

-- Trim at most `most` finished jobs of a state, and of each type with a rule of its own, the oldest first: by what people
-- have set, else by keep_ms and keep_count; but interrupted ones, which wait for a person, only by what people have set.
local function trim(state, keep_ms, keep_count, most)
  local key, own = ns .. 'finished:' .. state, kept_types(state)
  local ms, count = kept_of(state)
  if not ms and state ~= 'interrupted' then ms, count = keep_ms, keep_count end
  local excess = ms and redis.call('ZCARD', key) - count or 0
  local function drop(old, list)
    if #old == 0 then return end
    if list then redis.call('ZREM', list, unpack(old)) end
    redis.call('ZREM', key, unpack(old))
    for _, id in ipairs(old) do erase(id) end
    redis.call('HINCRBY', ns .. 'about', 'trimmed', #old)
  end
  for type, rule in pairs(own or {}) do
    local list = key .. '|' .. type
    local size = redis.call('ZCARD', list)
    excess = excess - size
    drop(outdated(list, rule[1], size - rule[2], most), list)
  end
  if ms and own then
    drop(outdated_others(key, state, own, ms, excess, most))
  elseif ms then
    drop(outdated(key, ms, excess, most))
  end
end
