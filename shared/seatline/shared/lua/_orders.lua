-- _orders: orders as they are stored, and how they enter their chain (O9 to O11). Where an order is stands in its field now:
-- 'check=<job id> scan=held ...': held = in front of that step (held@<ms>: until then at least), each = its elements are under
-- way, failed = it ended so. ended lists the steps that ended well, in the order of their ends. All functions about orders are
-- made when they are wanted, as fields of what orders() returns. Needs _base, _bells, _lines, _seats, _finish, _withdraw,
-- _accept, _elements, _runs, _steps, _straight.
local the_orders

local function orders()
  if the_orders then return the_orders end
  local LINES_MOST, ADMITTED_MOST = 1000, 200
  -- Most orders have none of the fields of RARE; one that has says so in odd.
  local FIELDS = {'chain', 'version', 'state', 'number', 'priority', 'now', 'ended', 'tenant', 'title', 'runs', 'bytes', 'odd'}
  local RARE = {'setbacks', 'skips', 'leaving', 'listeners', 'after_error', 'eached', 'due', 'error', 'error_step', 'suspended',
    'finished'}
  local self, known, plans, chains, finished, admitted = {}, {}, {}, {}, {}, 0
  the_orders = self
  local LIVE = {scheduled = true, waiting = true, running = true, suspended = true}

  -- Names of a text, as a list and a set.
  function self.listed(text)
    local list, set = {}, {}
    for name in string.gmatch(text or '', '[^%s,]+') do list[#list + 1], set[name] = name, true end
    return list, set
  end

  function self.without(list, name)
    local rest = {}
    for _, each in ipairs(list) do
      if each ~= name then rest[#rest + 1] = each end
    end
    return rest
  end

  -- Put an order at a step; nil: it is there no more.
  function self.place(o, step, word)
    if word and not o.at[step] then
      o.line[#o.line + 1] = step
    elseif not word and o.at[step] then
      o.line = o.line[2] and self.without(o.line, step) or {}
    end
    o.at[step], o.saved = word, false
  end

  function self.is_among(names, name) return names ~= '' and string.find(' ' .. names .. ' ', ' ' .. name .. ' ', 1, true) end

  -- Whether a step has ended well; it is to be told so (true), or so no longer (false).
  function self.has_ended(o, step) return self.is_among(o.ended, step) end

  function self.set_ended(o, step, well)
    o.saved = false
    if self.has_ended(o, step) then o.ended = table.concat(self.without(self.listed(o.ended), step), ' ') end
    if well then o.ended = o.ended == '' and step or o.ended .. ' ' .. step end
  end

  function self.is_live(o) return LIVE[o.state] end

  -- The fields that most orders have, as they are stored; nil if this call has read it before, and it may have changed since.
  function self.stored(id) return not known[id] and redis.call('HMGET', ns .. 'order:' .. id, unpack(FIELDS)) or nil end

  -- Read an order, once a call; nil: it is not there, or cannot be read. `stored`: what that has said a moment ago.
  function self.read(id, stored)
    if known[id] then return known[id] end
    local key, v = ns .. 'order:' .. id, stored or self.stored(id)
    if not (v[1] and v[2] and v[3] and v[4] and v[5]) then return nil end
    local o = {id = id, key = key, at = {}, line = {}, more = {}, chain = v[1], version = v[2], state = v[3],
      number = v[4], priority = v[5], now = v[6], ended = v[7] or '', tenant = v[8], title = v[9], runs = v[10], bytes = v[11]}
    if v[12] then
      o.odd = v[12]
      local rare = redis.call('HMGET', o.key, unpack(RARE))
      for i, name in ipairs(RARE) do o[name] = rare[i] end
    end
    for step, word in string.gmatch(o.now or '', '([^=%s]+)=(%S+)') do self.place(o, step, word) end
    known[id] = o
    return o
  end

  -- A field to be written with the rest; false removes it.
  function self.put(o, name, value)
    if o[name] == value or (value == false and not o[name]) then return end
    o.more[name], o[name], o.saved = value, value, false
    if value and not o.odd and name ~= 'runs' and name ~= 'bytes' then o.more.odd, o.odd = 1, 1 end
  end

  function self.save(o)
    if o.gone or o.saved then return end
    local is, words, drop = '', {}, nil
    for _, step in ipairs(o.line) do is = is .. (is == '' and '' or ' ') .. step .. '=' .. o.at[step] end
    for name, value in pairs(o.more) do
      if value then
        words[#words + 1], words[#words + 2] = name, value
      else
        drop = drop or {}
        drop[#drop + 1] = name
      end
    end
    redis.call('HSET', o.key, 'state', o.state, 'now', is, 'ended', o.ended, unpack(words))
    if drop then redis.call('HDEL', o.key, unpack(drop)) end
    o.more, o.saved = {}, true
  end

  function self.note(o, text)
    if redis.call('RPUSH', o.key .. ':history', now .. ' ' .. text) > LINES_MOST then
      redis.call('LTRIM', o.key .. ':history', -LINES_MOST, -1)
    end
  end

  -- A step of the version that the order started with; nil: there is none of that name.
  function self.step(o, name)
    local versions = plans[o.chain] or {}
    local plan = versions[o.version] or {}
    plans[o.chain], versions[o.version] = versions, plan
    if plan[name] == nil then
      local line, s = redis.call('HGET', ns .. 'chain:' .. o.chain .. ':' .. o.version, 'step.' .. name), false
      if line then
        s = {}
        for word, value in string.gmatch(line, '([%l_]+)=(%S*)') do s[word] = value end
        s.next, s.after = self.listed(s.next), self.listed(s.after)
        if s.type then s.line = line_key(s.type, s.uses) else s = false end  -- a damaged record
      end
      plan[name] = s
    end
    return plan[name] or nil
  end

  -- What stands before a chain, and before one of its steps: open, stop or skip.
  function self.gate(chain, step)
    local c = chains[chain]
    if not c then
      local v = redis.call('HMGET', ns .. 'chain:' .. chain, 'stopped', 'max_orders')
      c = {stopped = v[1], most = v[2] and tonumber(v[2]), steps = {}}
      chains[chain] = c
    end
    if step and not c.steps[step] then
      local v = redis.call('HMGET', ns .. 'chain:' .. chain, 'stop.' .. step, 'skip.' .. step)
      c.steps[step] = v[2] and 'skip' or v[1] and 'stop' or 'open'
    end
    return c, step and c.steps[step]
  end

  -- Whether one more may enter.
  function self.has_room(chain)
    local c = self.gate(chain)
    return not c.stopped and (not c.most or redis.call('ZCARD', ns .. 'chain:' .. chain .. ':started') < c.most)
  end

  -- Whether some stand in front of it, and enter before anybody else does.
  function self.is_line(chain) return redis.call('EXISTS', ns .. 'chain:' .. chain .. ':waiting') == 1 end

  function self.to_state(o, state)
    if o.state == state then return end
    redis.call('ZREM', ns .. 'orders:' .. o.state, o.id)
    if o.state == 'waiting' then redis.call('ZREM', ns .. 'chain:' .. o.chain .. ':waiting', o.number .. ' ' .. o.id) end
    redis.call('ZADD', ns .. 'orders:' .. state, LIVE[state] and o.number or now, o.id)
    o.state, o.saved = state, false
  end

  -- It is started: it counts for max_orders from now on.
  function self.enter(o)
    redis.call('ZADD', ns .. 'chain:' .. o.chain .. ':started', o.number, o.id)
    self.to_state(o, 'running')
    redis.call('HSETNX', o.key, 'started', now)
  end

  -- One that cannot be read, and had no job by which that is seen, is the oldest inside once all others have ended; then it
  -- keeps nobody from entering (O13). Returns whether there was one.
  local function drop_orphan(chain)
    local started = ns .. 'chain:' .. chain .. ':started'
    local oldest = not self.gate(chain).stopped and redis.call('ZRANGE', started, 0, 0)[1]
    if not oldest or self.read(oldest) then return false end
    return redis.call('ZREM', started, oldest) == 1
  end

  -- The first of those in front of the chain enter, as far as there is room (O10). Returns whether more might.
  function self.admit(chain, most)
    local line = ns .. 'chain:' .. chain .. ':waiting'
    for _ = 1, most do
      local head = redis.call('ZRANGE', line, 0, 0)[1]
      if not head then return false end
      if admitted >= ADMITTED_MOST then return true end
      admitted = admitted + 1
      if self.has_room(chain) then
        redis.call('ZREM', line, head)
        local o = self.read(string.match(head, ' (.*)$') or '')
        if o and o.state == 'waiting' then
          self.enter(o)
          self.go(o)
          self.save(o)
        end
      elseif not drop_orphan(chain) then
        return false
      end
    end
    return true
  end

  -- Workers go on with what is left to be admitted.
  function self.admit_later(chain)
    redis.call('ZADD', ns .. 'schedules', now, 'chain:' .. chain)
    ring_anyone()
  end

  -- It enters, or waits in front of the chain.
  function self.line_up_order(o)
    local c = self.gate(o.chain)
    if not c.stopped and not c.most and not self.is_line(o.chain) then
      self.enter(o)
      self.go(o)
      return self.save(o)
    end
    self.to_state(o, 'waiting')
    self.save(o)
    redis.call('ZADD', ns .. 'chain:' .. o.chain .. ':waiting', o.priority, o.number .. ' ' .. o.id)
    if self.admit(o.chain, 2) then self.admit_later(o.chain) end
  end

  -- It stands before its first steps again, as if it had just been started.
  function self.begin_anew(o)
    for _, step in ipairs(self.listed(o.eached)) do self.forget_each(o, step) end
    local out = {}
    for i, step in ipairs(self.listed(o.ended)) do out[i] = 'out.' .. step end
    if #out > 0 then redis.call('HDEL', o.key .. ':data', unpack(out)) end
    o.line, o.at, o.ended, o.saved = {}, {}, '', false
    for _, field in ipairs({'setbacks', 'skips', 'runs', 'bytes', 'after_error'}) do self.put(o, field, false) end
    local first = redis.call('HGET', ns .. 'chain:' .. o.chain .. ':' .. o.version, 'first')
    for _, step in ipairs((self.listed(first))) do self.place(o, step, 'held') end
  end

  -- It goes on at every step in front of which it stands.
  function self.go(o)
    for _, step in ipairs(self.listed(table.concat(o.line, ' '))) do
      local due = string.match(o.at[step] or '', '^held@?(%d*)$')
      if due then self.arrive(o, step, due ~= '' and due) end
      local s = o.at[step] == 'each' and self.step(o, step)
      if s then self.more_elements(o, step, s) end
    end
    self.over(o)
  end

  -- What a trigger of its end is to hear of (Q20).
  function self.tell_of_end(o, state)
    for _, event in ipairs(state == 'failed' and {'order.finished', 'order.failed'} or {'order.finished'}) do
      if facts().is_triggered(event) then
        facts().happened(event, 0, {'order', 'chain', 'state', 'error', 'step', 'title', 'tenant'},
          {o.id, o.chain, state, state == 'failed' and o.error, state == 'failed' and o.error_step, o.title, o.tenant})
      end
    end
  end

  -- So many more are to be trimmed of that state.
  function self.has_finished(state, count) finished[state] = (finished[state] or 0) + count end

  function self.finish(o, state)
    self.to_state(o, state)
    self.put(o, 'finished', now)
    self.put(o, 'suspended', false)
    self.has_finished(state, 1)
    redis.call('ZREM', ns .. 'chain:' .. o.chain .. ':started', o.id)
    tell_end(o.id, o.listeners)
    self.put(o, 'listeners', false)
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'order', o.id, 'state', state)
    self.tell_of_end(o, state)
    self.save(o)
    if self.gate(o.chain).most and self.admit(o.chain, 2) then self.admit_later(o.chain) end
  end

  -- Forget an order altogether; it is parked, or has ended, and nothing of it runs. `word`: it is 'removed' or 'trimmed'.
  function self.erase(o, word)
    local chain = ns .. 'chain:' .. o.chain
    tell_end(o.id, o.listeners)
    for _, step in ipairs(self.listed(o.eached)) do self.forget_each(o, step) end
    redis.call('ZREM', ns .. 'orders:' .. o.state, o.id)
    local had_entered = redis.call('ZREM', chain .. ':started', o.id) == 1
    redis.call('ZREM', chain .. ':waiting', o.number .. ' ' .. o.id)
    redis.call('DEL', o.key, o.key .. ':data', o.key .. ':history')
    redis.call('HINCRBY', ns .. 'about', word, 1)
    local plan = chain .. ':' .. o.version
    if redis.call('HINCRBY', plan, 'orders', -1) <= 0 and redis.call('HGET', chain, 'version') ~= o.version then
      redis.call('DEL', plan)
    end
    o.gone, known[o.id] = true, nil
    if had_entered and self.gate(o.chain).most and self.admit(o.chain, 2) then self.admit_later(o.chain) end
  end

  -- An order of that chain cannot be read: it counts no more, so that it stops no other (O13).
  function self.orphaned(id, chain)
    if not chain or redis.call('ZREM', ns .. 'chain:' .. chain .. ':started', id) == 0 then return end
    if self.gate(chain).most and self.admit(chain, 2) then self.admit_later(chain) end
  end

  -- Forget what is left of an order that cannot be read. Returns whether there was anything.
  function self.erase_orphan(id)
    local key, found = ns .. 'order:' .. id, 0
    local v = redis.call('HMGET', key, 'chain', 'version', 'number', 'eached')
    for _, state in ipairs({'scheduled', 'waiting', 'running', 'suspended', 'failed', 'succeeded', 'cancelled'}) do
      found = found + redis.call('ZREM', ns .. 'orders:' .. state, id)
    end
    for _, step in ipairs((self.listed(v[4]))) do
      local each = key .. ':each:' .. step
      redis.call('DEL', each, each .. ':jobs', each .. ':bad')
    end
    for _, chain in ipairs(v[1] and {v[1]} or redis.call('SMEMBERS', ns .. 'chains')) do
      if v[3] then redis.call('ZREM', ns .. 'chain:' .. chain .. ':waiting', v[3] .. ' ' .. id) end
      self.orphaned(id, chain)
    end
    if v[1] and v[2] then redis.call('HINCRBY', ns .. 'chain:' .. v[1] .. ':' .. v[2], 'orders', -1) end
    found = found + redis.call('DEL', key, key .. ':data', key .. ':history')
    if found > 0 then redis.call('HINCRBY', ns .. 'about', 'removed', 1) end
    return found > 0
  end

  -- Forget old ended orders: at most two for each that has ended in this call, and `more` of each state.
  function self.trim(keep_ms, keep, more)
    for _, state in ipairs({'succeeded', 'failed', 'cancelled'}) do
      local key, most, old = ns .. 'orders:' .. state, more + 2 * (finished[state] or 0), {}
      local excess = most > 0 and redis.call('ZCARD', key) - keep or 0
      if excess > 0 then
        old = redis.call('ZRANGE', key, 0, math.min(excess, most) - 1)
      elseif most > 0 then
        old = redis.call('ZRANGEBYSCORE', key, '-inf', now - keep_ms, 'LIMIT', 0, most)
      end
      for _, id in ipairs(old) do
        local o = self.read(id)
        if o and o.state == state then
          self.erase(o, 'trimmed')
        elseif not o then  -- a damaged record
          redis.call('ZREM', key, id)
          redis.call('DEL', ns .. 'order:' .. id, ns .. 'order:' .. id .. ':history')
          redis.call('HINCRBY', ns .. 'about', 'trimmed', 1)
        end
      end
    end
  end

  with_elements(self)
  with_runs(self)
  with_steps(self)
  with_straight(self)
  return self
end

-- To follow whatever is done about orders, before workers look and at the end of a script.
local function orders_done()
  if the_orders then the_orders.line_up_made() end
  alarm_anew(coming, 'scheduled', '-inf')
end
