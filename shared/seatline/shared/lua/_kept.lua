-- _kept: ended jobs stand in a list of their state, written together, until retention trims them: by what people have set for the
-- state or the type, else by what the worker says (R7). Needs _base, _finish.
local kept_text  -- as people have set it: <state>=<ms>/<count> and <state>|<type>=<ms>/<count>, each between blanks

local the_retention

-- Made when it is wanted: most calls trim nothing, and most namespaces have no rules.
local function retention()
  if the_retention then return the_retention end
  local self = {}
  the_retention = self
  kept_text = kept_text or redis.call('GET', ns .. 'keep') or ''

  -- The age (ms) and the count that somebody has set for this state, or nil.
  local function kept_of(state)
    local _, last = string.find(kept_text, ' ' .. state .. '=', 1, true)
    if not last then return nil end
    local ms, count = string.match(kept_text, '^(%d+)/(%d+)', last + 1)
    return tonumber(ms), tonumber(count)
  end

  -- The types that have a rule of their own for this state -> {ms, count}, or nil: none has.
  local function kept_types(state)
    if not string.find(kept_text, ' ' .. state .. '|', 1, true) then return nil end
    local own = {}
    for name, type, ms, count in string.gmatch(kept_text, '(%a+)|([^ =]+)=(%d+)/(%d+)') do
      if name == state then own[type] = {tonumber(ms), tonumber(count)} end
    end
    return own
  end

  -- Jobs that have just ended so, where types have rules of their own: their lists have them too.
  function self.list_by_type(state, list)
    local own = kept_types(state)
    -- A clock that was set back: this end lies before what retention has passed over already.
    local passed = own and string.match(redis.call('HGET', ns .. 'about', 'passed.' .. state) or '', '%d+')
    if passed and tonumber(passed) > now then redis.call('HDEL', ns .. 'about', 'passed.' .. state) end
    for i = 2, own and #list or 0, 2 do
      local type = redis.call('HGET', ns .. 'job:' .. list[i], 'type')
      if type and own[type] then redis.call('ZADD', ns .. 'finished:' .. state .. '|' .. type, list[i - 1], list[i]) end
    end
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
  function self.trim(state, keep_ms, keep_count, most)
    local key, own = ns .. 'finished:' .. state, kept_types(state)
    local ms, count = kept_of(state)
    if not ms and state ~= 'interrupted' then ms, count = keep_ms, keep_count end
    local excess = ms and redis.call('ZCARD', key) - count or 0
    local function drop(old, list)
      if #old == 0 then return end
      -- Up to when some that had ended are gone: whoever looks back is told.
      local latest = tonumber(redis.call('ZSCORE', key, old[#old]) or 0)
      local gone = tonumber(redis.call('HGET', ns .. 'about', 'gone.' .. state) or 0)
      if latest > gone then redis.call('HSET', ns .. 'about', 'gone.' .. state, string.format('%.0f', latest)) end
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

  return self
end

local function finish_done()
  for state, list in pairs(ended) do
    for i = 1, #list, 400 do
      redis.call('ZADD', ns .. 'finished:' .. state, unpack(list, i, math.min(i + 399, #list)))
    end
    if kept_text ~= '' then retention().list_by_type(state, list) end
  end
end
