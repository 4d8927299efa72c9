-- _elements: a step that runs once for every element of a list (O14). Its first job is an expansion: a worker stores the
-- elements, e.<i>, and reports how many. Their jobs are made so many at a time; results, r.<i>, are joined to one list.
-- :jobs holds the jobs under way, :bad the elements to be run when the order is resumed: those that failed, and those whose
-- jobs were taken back. Needs _base.
local function with_elements(self)
  local UNDER_WAY_MOST, BYTES_MOST, NIL, EMPTY = 200, 8388608, string.char(192), string.char(144)  -- as msgpack writes them

  -- What its elements have returned counts no more among the outputs.
  local function give_room(o, key)
    local bytes = o.bytes and redis.call('HGET', key, 'bytes')
    if bytes then self.put(o, 'bytes', math.max(0, o.bytes - bytes)) end
  end

  function self.forget_each(o, step)
    local names, has = self.listed(o.eached)
    if not has[step] then return end
    local key = o.key .. ':each:' .. step
    give_room(o, key)
    redis.call('DEL', key, key .. ':jobs', key .. ':bad')
    local left = table.concat(self.without(names, step), ' ')
    self.put(o, 'eached', left ~= '' and left)
  end

  -- Make jobs of further elements, first of those that failed before the order was resumed.
  function self.more_elements(o, name, s)
    local key = o.key .. ':each:' .. name
    local v = redis.call('HMGET', key, 'count', 'next')
    local count, next, under = tonumber(v[1] or 0), tonumber(v[2] or 0), redis.call('ZCARD', key .. ':jobs')
    while under < UNDER_WAY_MOST and o.state == 'running' and not o.leaving do
      local i = redis.call('ZRANGE', key .. ':bad', 0, 0)[1]
      if not i and next >= count then break end
      if i then redis.call('ZREM', key .. ':bad', i) else i, next = string.format('%.0f', next), next + 1 end
      redis.call('ZADD', key .. ':jobs', i, self.make(o, name, s, nil, i))
      under = under + 1
    end
    redis.call('HSET', key, 'next', next)
  end

  -- The list of a step is known. If it was known before, the step was set back: only what had not ended well runs.
  function self.expanded(o, name, s, count)
    local key, names, has = o.key .. ':each:' .. name, self.listed(o.eached)
    self.place(o, name, 'each')
    if has[name] and tonumber(redis.call('HGET', key, 'count') or -1) == count then
      redis.call('HSET', key, 'failed', 0)
    else
      give_room(o, key)
      redis.call('DEL', key .. ':jobs', key .. ':bad')
      redis.call('HSET', key, 'count', count, 'next', 0, 'done', 0, 'failed', 0, 'bytes', 0)
      for i = 0, count - 1, 500 do  -- of an earlier, longer list
        local old = {}
        for k = i, math.min(i + 499, count - 1) do old[#old + 1] = 'r.' .. k end
        redis.call('HDEL', key, unpack(old))
      end
    end
    if not has[name] then self.put(o, 'eached', table.concat(names, ' ') .. (names[1] and ' ' or '') .. name) end
    if count > 0 then return self.more_elements(o, name, s) end
    self.forget_each(o, name)
    self.ends_well(o, name, s, EMPTY)
  end

  -- All have ended: their results as one list, in order; nil for what failed.
  local function joined(key, count)
    local parts = {string.char(221, 0, 0, math.floor(count / 256), count % 256)}
    for i = 0, count - 1, 500 do
      local names = {}
      for k = i, math.min(i + 499, count - 1) do names[#names + 1] = 'r.' .. k end
      for _, part in ipairs(redis.call('HMGET', key, unpack(names))) do parts[#parts + 1] = part or NIL end
    end
    return table.concat(parts)
  end

  function self.element_ended(o, id, name, element, s, well, result, why)
    local key, word = o.key .. ':each:' .. name, o.at[name]
    if redis.call('ZREM', key .. ':jobs', id) == 0 then return end
    if well and tonumber(o.bytes or 0) + #result > BYTES_MOST then
      well, why = false, 'the results are more than ' .. BYTES_MOST .. ' bytes; write them to files, and return the names'
    end
    local left = redis.call('ZCARD', key .. ':jobs')
    if well then
      self.put(o, 'bytes', tonumber(o.bytes or 0) + #result)
      redis.call('HSET', key, 'r.' .. element, result == '' and NIL or result)
      redis.call('HDEL', key, 'e.' .. element)
      redis.call('HINCRBY', key, 'bytes', #result)
      redis.call('HINCRBY', key, 'done', 1)
    else
      if s.partial ~= 'join' then redis.call('ZADD', key .. ':bad', element, element) end
      local bad = redis.call('HINCRBY', key, 'failed', 1)
      if bad == 1 then redis.call('HSET', key, 'error', 'element ' .. element .. ': ' .. why) end
    end
    if o.leaving and left == 0 then return self.place(o, name, nil) end
    if o.leaving or word ~= 'each' then return end
    local v = redis.call('HMGET', key, 'count', 'done', 'failed', 'error')
    local count, done, bad = tonumber(v[1] or -1), tonumber(v[2] or 0), tonumber(v[3] or 0)
    if count < 0 then
      if left == 0 then self.ends_badly(o, name, s, 'failed', 'the record of its elements is lost') end
    elseif bad > 0 and s.partial ~= 'join' then
      if left > 0 then return end
      self.ends_badly(o, name, s, 'failed', bad .. ' of ' .. count .. ' elements failed; ' .. (v[4] or ''))
    elseif done + bad < count then
      self.more_elements(o, name, s)
    else
      local result = joined(key, count)
      self.note(o, 'step ' .. name .. ': ' .. count .. ' elements, ' .. bad .. ' failed')
      self.forget_each(o, name)
      self.ends_well(o, name, s, result)
    end
  end
end
