-- _runs: the runs of steps. A step that can start, now or at a moment, is an ordinary job that knows its order; its end moves
-- the order on. Needs _base, _lines, _seats, _finish, _withdraw, _accept.
local function with_runs(self)
  local listed, place = self.listed, self.place
  local lines, next_id, last_id = nil, 1, 0
  local RUN = {'state', 'token', 'seats', 'listeners', 'if_lost', 'order', 'step', 'element', 'attempt', 'worker', 'started'}

  -- The job of a run that ends; the first six as of any job (_settle).
  function self.run_of(id) return redis.call('HMGET', ns .. 'job:' .. id, unpack(RUN)) end

  -- The names of steps whose outputs a step gets, in the order of their ends: all, or, where branches run beside each
  -- other, those that lie before it.
  local function before(o, s)
    if not s.before then return o.ended end
    local _, wanted = listed(s.before)
    local list = {}
    for _, each in ipairs(listed(o.ended)) do
      if wanted[each] or (self.step(o, each) or {}).aside then list[#list + 1] = each end
    end
    return table.concat(list, ' ')
  end

  -- Take numbers for so many jobs in one go; what is left of them line_up_made gives back. Nobody else may take any between.
  function self.take_numbers(count)
    last_id = redis.call('INCRBY', ns .. 'seq', count)
    next_id = last_id - count + 1
  end

  function self.next_number()
    if next_id > last_id then self.take_numbers(1) end
    next_id = next_id + 1
    return string.format('%016.0f', next_id - 1)
  end

  -- What the jobs of a step have in common, in this call.
  function self.common(chain, name, s)
    if s.common then return s.common end
    local words = {'type', s.type, 'created', string.format('%.0f', now), 'chain', chain, 'step', name}
    for _, word in ipairs({'if_lost', 'uses', 'timeout', 'retry', 'codes'}) do
      if s[word] then words[#words + 1], words[#words + 2] = word, s[word] end
    end
    s.common = words
    return words
  end

  -- A job of a step is to stand in its line, once line_up_made is called.
  function self.to_line(s, priority, id)
    lines = lines or {}
    local line = lines[s.line]
    if not line then
      line = {type = s.type, uses = s.uses}
      lines[s.line] = line
    end
    line[#line + 1], line[#line + 2] = priority, id
  end

  -- Make the job of a step, or of one element of it; returns its id.
  function self.make(o, name, s, due, element)
    local id, priority = self.next_number(), s.priority or o.priority
    local words = {'priority', priority, 'order', o.id, unpack(self.common(o.chain, name, s))}
    local function add(word, value)
      if value then words[#words + 1], words[#words + 2] = word, value end
    end
    if o.ended ~= '' then add('before', before(o, s)) end
    add('tenant', o.tenant)
    add('title', o.title)
    if o.state == 'scheduled' then add('enters', 1) end
    if s.each then
      add('item', s.item or 'item')
      add(element and 'element' or 'expand', element or s.each)
    end
    if due and tonumber(due) > now then
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'scheduled', 'due', due, unpack(words))
      line_known(s.type, s.uses)
      come_later({due, id})
    else
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready', unpack(words))
      self.to_line(s, priority, id)
    end
    return id
  end

  function self.line_up_made()
    if last_id >= next_id then redis.call('INCRBY', ns .. 'seq', next_id - last_id - 1) end
    next_id, last_id = 1, 0
    self.have_succeeded()
    if not lines then return end
    local new = lines
    lines = nil
    for key, line in pairs(new) do
      local indexed, spec = line_known(line.type, line.uses)
      for i = 1, #line, 400 do redis.call('ZADD', key, unpack(line, i, math.min(i + 399, #line))) end
      index_head(line.type, line.uses, indexed, spec)
      if #line > 0 then ring(line.type, #line / 2) end
    end
  end

  -- It stands in front of a stopped step no more.
  function self.leave_gate(o, step)
    redis.call('ZREM', ns .. 'chain:' .. o.chain .. ':held:' .. step, o.number .. ' ' .. o.id)
  end

  -- Take a waiting job back. Returns the word for an order that stands in front of its step; nil: it runs.
  function self.take_back(id)
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'type', 'uses', 'due', 'listeners')
    if job[1] == 'running' then return nil end
    if job[1] == 'ready' or job[1] == 'scheduled' then
      for _, line in pairs(lines or {}) do
        for i = #line, 2, -2 do
          if line[i] == id then
            table.remove(line, i)
            table.remove(line, i - 1)
          end
        end
      end
      if job[2] or job[1] == 'scheduled' then leave_place(id, job[1], job[2], job[3]) end
      tell_end(id, job[5])
      erase(id)
      redis.call('HINCRBY', ns .. 'about', 'removed', 1)
    end
    return job[1] == 'scheduled' and job[4] and 'held@' .. job[4] or 'held'
  end

  -- For now nothing of it starts: what waits stands in front of its step again, what runs ends.
  function self.park(o)
    for _, step in ipairs(o.line) do
      local word = o.at[step]
      if string.find(word, '^%d+$') then
        self.place(o, step, self.take_back(word) or word)
      elseif word == 'each' then
        local each = o.key .. ':each:' .. step
        local jobs = redis.call('ZRANGE', each .. ':jobs', 0, -1, 'WITHSCORES')
        for i = 1, #jobs, 2 do
          if self.take_back(jobs[i]) then
            redis.call('ZREM', each .. ':jobs', jobs[i])
            redis.call('ZADD', each .. ':bad', jobs[i + 1], jobs[i + 1])
          end
        end
      elseif string.find(word, '^held') then
        self.leave_gate(o, step)
      end
    end
  end

  -- What runs of it is asked to stop; it is parked.
  function self.stop_runs(o, by)
    local function stop(id)
      local worker = redis.call('HGET', ns .. 'job:' .. id, 'worker')
      redis.call('HSET', ns .. 'job:' .. id, 'cancel', now)
      note(id, 'cancel asked by ' .. by)
      ring_look(worker or '')
    end
    for _, step in ipairs(o.line) do
      if string.find(o.at[step], '^%d+$') then stop(o.at[step]) end
      local jobs = o.key .. ':each:' .. step .. ':jobs'
      for _, id in ipairs(redis.call('ZRANGE', jobs, 0, -1)) do stop(id) end
    end
  end

  -- A step of it that is under way, or nil.
  function self.under_way(o)
    for _, step in ipairs(o.line) do
      local word = o.at[step]
      if redis.call('ZCARD', o.key .. ':each:' .. step .. ':jobs') > 0 then return step end
      if string.find(word, '^%d+$') and redis.call('HGET', ns .. 'job:' .. word, 'state') == 'running' then return step end
    end
  end

  -- What goes with a step's job: the order's params and the outputs, or what one element needs.
  function self.handed(order, step, element)
    if not element then return redis.call('HGETALL', ns .. 'order:' .. order .. ':data') end
    local v = redis.call('HMGET', ns .. 'order:' .. order .. ':each:' .. step, 'base', 'e.' .. element)
    return {'params', v[1] or '', 'item.value', v[2] or ''}
  end

  -- A step's job is about to be handed over. Returns what goes with it; nil: its order waits in front of the step, or
  -- passes it, and the job is gone; or its order is lost, and it is interrupted.
  function self.begins(id, order, step, element, chain, enters)
    if step and chain and not element and not enters then
      local _, gate = self.gate(chain, step)
      local v = redis.call('HMGET', ns .. 'order:' .. order, 'now', 'chain', 'version', 'state', 'number', 'priority')
      local whole = v[1] == step .. '=' .. id and v[2] and v[3] and v[4] and v[5] and v[6]
      local data = whole and gate == 'open' and self.handed(order, step) or {}
      if data[1] then return data end
    end
    local o = self.read(order)
    if not o then self.orphaned(order, chain) end
    if not o or not step or not (element or o.at[step] == id) then
      redis.call('HSET', ns .. 'job:' .. id, 'error', 'its order ' .. order .. ' is lost, or is no longer at this step')
      finish(id, 'interrupted')
      return nil
    end
    if element then return self.handed(order, step, element) end
    local crowded = o.state == 'scheduled' and (not self.has_room(o.chain) or self.is_line(o.chain))
    local _, gate = self.gate(o.chain, step)
    if o.state == 'scheduled' and not crowded then
      self.enter(o)
      if gate == 'open' then self.save(o) end
    end
    if not crowded and gate == 'open' then return self.handed(order, step) end
    place(o, step, 'held')
    erase(id)
    redis.call('HINCRBY', ns .. 'about', 'removed', 1)
    if crowded then
      self.park(o)
      self.line_up_order(o)
    else
      self.arrive(o, step)
      self.save(o)
    end
    return nil
  end

  function self.note_run(o, id, job, ends)
    self.note(o, 'step ' .. (job[7] or '?') .. (job[8] and '[' .. job[8] .. ']' or '') .. ' job ' .. (string.match(id, '^0*(%d+)$') or id)
      .. ' attempt ' .. (job[9] or 0) .. ' by ' .. (job[10] or '-') .. ' from ' .. (job[11] or '-') .. ': ' .. ends)
  end

  -- A run of a step is to begin again: it was lost, handed back (ends: nil), or has failed and will be tried again. If its
  -- order is to go no further, or is to be gone, it does not (O6, O8).
  function self.told(id, order, ends)
    local o = self.read(order)
    if not o then return end
    local job = self.run_of(id)
    if ends then self.note_run(o, id, job, ends) end
    if not o.leaving and (o.state == 'running' or o.state == 'scheduled') then return end
    if o.leaving and job[8] then
      self.take_back(id)
      redis.call('ZREM', o.key .. ':each:' .. job[7] .. ':jobs', id)
    end
    self.park(o)
    self.leave(o)
    self.save(o)
  end

  -- The job of a step has ended for good. `result`: what it returned, or ''; `said`: further fields of its hash that were
  -- written with its end; `job`: it, by run_of, if that was read.
  function self.ended(id, order, outcome, result, said, job)
    job = job or self.run_of(id)
    local stored = self.stored(order)
    if outcome == 'succeeded' and stored and self.straight_on(id, order, stored, job, result, said) then return end
    local o = self.read(order, stored)
    local name, element, s = job[7], job[8], o and job[7] and self.step(o, job[7])
    if not o then self.orphaned(order, redis.call('HGET', ns .. 'job:' .. id, 'chain')) end
    if not (o and name) then return end
    if not s then
      if o.at[name] == id or o.at[name] == 'each' then self.fail(o, name, 'its chain has no such step') end
      self.leave(o)
      return self.save(o)
    end
    local well, expands = outcome == 'succeeded' or outcome == 'skipped', s.each and not element
    local why = outcome == 'failed' and '?' or 'its job was ' .. outcome
    if said.error then why = (said.error_type and said.error_type .. ': ' or '') .. string.match(said.error, '^[^\n]*') end
    if element then
      if not well then self.note_run(o, id, job, outcome .. ': ' .. why) end
      self.element_ended(o, id, name, element, s, well, result, why)
    elseif o.at[name] == id then
      local to = said['goto'] and ', to ' .. said['goto'] or expands and ': a list of ' .. (said.count or 0)
        or said.reason and ': ' .. said.reason or ''
      self.note_run(o, id, job, outcome .. (well and to or ': ' .. why))
      if not well and o.leaving then
        place(o, name, nil)
      elseif not well then
        self.ends_badly(o, name, s, outcome, why)
      elseif expands then
        self.expanded(o, name, s, tonumber(said.count or 0))
      else
        self.ends_well(o, name, s, result, said['goto'])
      end
    end
    self.leave(o)
    self.save(o)
  end

  -- Somebody wants it gone: so it goes once nothing of it runs (O8). Returns whether it is gone, or cancelled.
  function self.leave(o)
    if not o.leaving or o.gone or self.under_way(o) then return false end
    if o.leaving == 'remove' then
      self.erase(o, 'removed')
    else
      o.line, o.at, o.saved = {}, {}, false
      if self.is_live(o) or o.state == 'failed' then self.finish(o, 'cancelled') end
      self.put(o, 'leaving', false)
    end
    return true
  end
end
