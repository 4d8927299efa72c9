-- _steps: where an order goes: to the step that follows, to another that was chosen, or nowhere, by on_error (O2, O4, O7,
-- O14, O15). Needs _base, _elements, _runs.
local function with_steps(self)
  local RUNS_MOST, BYTES_MOST = 10000, 8388608
  local put, place, listed, without = self.put, self.place, self.listed, self.without

  -- It fails at a step, and can be resumed there (O4).
  function self.fail(o, step, why)
    place(o, step, 'failed')
    self.park(o)
    put(o, 'error', 'step ' .. step .. ': ' .. why)
    put(o, 'error_step', step)
    self.note(o, 'failed at step ' .. step .. ': ' .. why)
    if self.is_live(o) then self.finish(o, 'failed') end
  end

  -- Whether it stands failed at some step.
  function self.is_failed(o)
    for _, step in ipairs(o.line) do
      if o.at[step] == 'failed' then return true end
    end
  end

  -- In front of a step: it becomes a job now, or at `due`, or not yet.
  function self.arrive(o, name, due)
    local s = self.step(o, name)
    if not s then return self.fail(o, name, 'its chain has no such step') end
    if o.state == 'scheduled' then due = due or o.due end
    local _, gate = self.gate(o.chain, name)
    place(o, name, due and 'held@' .. due or 'held')
    local skips, skip = {}, {}
    if o.skips then skips, skip = listed(o.skips) end
    if skip[name] or (gate == 'skip' and o.state ~= 'scheduled') then
      if skip[name] then put(o, 'skips', skips[2] and table.concat(without(skips, name), ' ') or false) end
      self.note(o, 'step ' .. name .. ' passed without running')
      return self.follow(o, name, s)
    end
    if (o.state ~= 'running' and o.state ~= 'scheduled') or o.leaving or o.halted then return end
    if gate == 'stop' and o.state == 'running' then
      redis.call('ZADD', ns .. 'chain:' .. o.chain .. ':held:' .. name, o.priority, o.number .. ' ' .. o.id)
      return
    end
    if tonumber(o.runs or 0) >= RUNS_MOST then
      return self.fail(o, name, 'its steps have run ' .. RUNS_MOST .. ' times; does the chain go in a circle?')
    end
    put(o, 'runs', tonumber(o.runs or 0) + 1)
    place(o, name, self.make(o, name, s, due))
  end

  -- What these steps have returned is to come again: it counts no more.
  local function forget_outputs(o, steps)
    local out, freed = {}, 0
    for i, step in ipairs(steps) do
      out[i] = 'out.' .. step
      if o.bytes then freed = freed + redis.call('HSTRLEN', o.key .. ':data', out[i]) end
    end
    redis.call('HDEL', o.key .. ':data', unpack(out))
    if freed > 0 then put(o, 'bytes', math.max(0, o.bytes - freed)) end
  end

  -- To a step, from another or by somebody's will: what lies behind it is to come again (O8). Returns why it cannot, or nil.
  function self.jump(o, target)
    if not self.step(o, target) then return 'its chain has no step ' .. target .. ' to go to' end
    local behind, met, i = {target}, {[target] = true}, 1
    while behind[i] do
      for _, next in ipairs((self.step(o, behind[i]) or {next = {}}).next) do
        if not met[next] then behind[#behind + 1], met[next] = next, true end
      end
      i = i + 1
    end
    for _, step in ipairs(behind) do
      local word = o.at[step] or ''
      local runs = string.find(word, '^%d+$') and redis.call('HGET', ns .. 'job:' .. word, 'state') == 'running'
      if word == 'each' or runs then
        return 'it cannot go to step ' .. target .. ' while step ' .. step .. ' behind that is under way'
      end
    end
    local failed = false  -- by a branch, while another one ran on: it has to be resumed, there now
    for _, step in ipairs(behind) do
      failed = failed or o.at[step] == 'failed'
      if string.find(o.at[step] or '', '^held') then self.leave_gate(o, step) end
      if string.find(o.at[step] or '', '^%d+$') then self.take_back(o.at[step]) end
      place(o, step, nil)
      self.forget_each(o, step)
      self.set_ended(o, step, false)
    end
    forget_outputs(o, behind)
    if failed and o.state == 'failed' then place(o, target, 'failed') else self.arrive(o, target) end
  end

  -- Nothing is left to do.
  function self.over(o)
    if #o.line == 0 and self.is_live(o) and not o.halted then self.finish(o, 'succeeded') end
  end

  -- Why it came to a step aside, if that is because another failed: that step and its error. It is forgotten.
  local function take_error(o, aside)
    local rest, step, why = {}, nil, nil
    for line in string.gmatch(o.after_error or '', '[^\n]+') do
      local at, failed, text = string.match(line, '^(%S+) (%S+) (.*)$')
      if at == aside then step, why = failed, text else rest[#rest + 1] = line end
    end
    put(o, 'after_error', #rest > 0 and table.concat(rest, '\n'))
    return step, why
  end

  -- It goes to a step by somebody's will: it leaves all others, but for branches that run beside that step (O8, O14). It is
  -- parked, and nothing of it runs.
  function self.send(o, target)
    local related, to = {[target] = true}, self.step(o, target)
    for _, way in ipairs({'after', 'next'}) do
      local list, i = {target}, 1
      while list[i] do
        for _, name in ipairs((self.step(o, list[i]) or {[way] = {}})[way]) do
          if not related[name] then list[#list + 1], related[name] = name, true end
        end
        i = i + 1
      end
    end
    for _, name in ipairs(listed(table.concat(o.line, ' '))) do
      local s = self.step(o, name)
      if to.aside or not s or s.aside or related[name] then
        place(o, name, nil)
        take_error(o, name)
      end
    end
    take_error(o, target)
    self.jump(o, target)
  end

  -- A step has ended well, or is passed: to what follows (O2, O14), or to `target` (O15).
  function self.follow(o, name, s, target)
    place(o, name, nil)
    self.set_ended(o, name, true)
    target = target or (s.aside and s['then'])
    local failed, why_failed = nil, nil
    if s.aside and not target then failed, why_failed = take_error(o, name) end
    if target then
      local why = self.jump(o, target)
      if why then
        self.set_ended(o, name, false)
        forget_outputs(o, {name})
        return self.fail(o, name, why)
      end
      if s.aside then take_error(o, name) end
    elseif failed then  -- it leads nowhere, so what led here stands
      return self.fail(o, failed, why_failed)
    else
      local open = {}
      for _, next in ipairs(s.next) do
        local all = not o.at[next] and not self.has_ended(o, next)
        for _, before in ipairs((self.step(o, next) or {after = {}}).after) do
          all = all and (before == name or self.has_ended(o, before))
        end
        if all then
          place(o, next, 'held')
          open[#open + 1] = next
        end
      end
      for _, next in ipairs(open) do
        if o.at[next] == 'held' then self.arrive(o, next) end
      end
    end
    self.over(o)
  end

  -- How often each step was set back: a map, kept as text.
  local function setbacks(o)
    local of = {}
    for name, n in string.gmatch(o.setbacks or '', '([^=%s]+)=(%d+)') do of[name] = tonumber(n) end
    return of
  end

  local function put_setback(o, name, n)
    local of, words = setbacks(o), {}
    of[name] = n
    for step, count in pairs(of) do words[#words + 1] = step .. '=' .. count end
    table.sort(words)
    put(o, 'setbacks', #words > 0 and table.concat(words, ' '))
  end

  -- A step ends well, with what it returned ('': nothing).
  function self.ends_well(o, name, s, result, target)
    if result ~= '' then
      local bytes = tonumber(o.bytes or 0) + #result
      if bytes > BYTES_MOST then
        return self.fail(o, name, 'the outputs of its steps are more than ' .. BYTES_MOST
          .. ' bytes; write them to files, and hand on the names')
      end
      put(o, 'bytes', bytes)
      redis.call('HSET', o.key .. ':data', 'out.' .. name, result)
    end
    if o.setbacks and setbacks(o)[name] then put_setback(o, name, nil) end
    self.follow(o, name, s, target)
  end

  -- A step has failed for good, so its on_error says what becomes of the order. What was interrupted or cancelled is for a
  -- person to decide.
  function self.ends_badly(o, name, s, outcome, why)
    local so = outcome == 'failed' and s.on_error or 'fail'
    if so == 'fail' then return self.fail(o, name, why) end
    if so == 'suspend' then
      place(o, name, 'held')
      self.park(o)
      put(o, 'suspended', now .. ' step ' .. name .. ' failed: ' .. why)
      self.note(o, 'suspended: step ' .. name .. ' failed: ' .. why)
      if self.is_live(o) then self.to_state(o, 'suspended') end
    elseif so == 'setback' then
      local n, delays = (setbacks(o)[name] or 0) + 1, listed(s.setback)
      local most = #delays > 0 and tonumber(s.setbacks or #delays) or 0
      if n > most then return self.fail(o, name, why .. ' (set back ' .. most .. ' times)') end
      put_setback(o, name, n)
      local due = string.format('%.0f', now + delays[math.min(n, #delays)])
      self.note(o, 'step ' .. name .. ' set back, ' .. n .. ' of ' .. most .. ', until ' .. due)
      self.arrive(o, name, due)
    else
      if s.aside then take_error(o, name) end
      if (self.step(o, so) or {}).aside then
        put(o, 'after_error', (o.after_error and o.after_error .. '\n' or '') .. so .. ' ' .. name .. ' ' .. why)
      end
      place(o, name, nil)
      local cannot = self.jump(o, so)
      if cannot then
        take_error(o, so)
        self.fail(o, name, why .. '; ' .. cannot)
      end
    end
  end
end
