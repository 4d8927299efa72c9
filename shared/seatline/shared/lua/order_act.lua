-- order_act: suspend, resume, reset, remove or cancel an order, skip a step of it or go to one, each in one step (O6, O8).
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _kept _withdraw _accept _elements _runs _steps _straight _orders _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  id        of the order
-- ARGV[4]  act       'suspend', 'resume', 'skip', 'goto', 'reset', 'remove' or 'cancel'
-- ARGV[5]  step      for skip and goto; for resume: go on from there, or ''
-- ARGV[6]  by        who asks
-- ARGV[7]  start     its number, or '': another one means that it is another order
--
-- Returns  ok        its state now; 'asked': remove, cancel, once what is under way has ended; 'removed'
--          missing   no such order (or another one), or its record, or its chain's, cannot be read
--          state     the state it is in, in which that cannot be done
--          running   step: that cannot be done while it is under way
--          step      its chain has no such step
--          ended     the step to be skipped has ended
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   order id, the act, by; order id, state
local lane, number, digest, id, act, step, by, start = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]

local known = lane_known(lane, number, digest)
if known then return known end
local self = orders()
local o = self.read(id)
if not o and act == 'remove' and self.erase_orphan(id) then
  orders_done()
  return lane_keep(lane, number, digest, {'ok', 'removed'})
end
if not o or (start ~= '' and o.number ~= start)
  or (act == 'reset' and redis.call('HEXISTS', ns .. 'chain:' .. o.chain .. ':' .. o.version, 'first') == 0) then
  return lane_keep(lane, number, digest, {'missing'})
end

-- Look: may it be?
local live, running, reply, to = self.is_live(o), self.under_way(o), nil, step ~= '' and act ~= 'skip'
if step ~= '' and not self.step(o, step) then
  reply = {'step'}
elseif running and (to or act == 'reset') then
  reply = {'running', running}
elseif act == 'skip' then
  local word = o.at[step] or ''
  local runs = string.find(word, '^%d+$') and redis.call('HGET', ns .. 'job:' .. word, 'state') == 'running'
  if not live and o.state ~= 'failed' then reply = {'state', o.state} end
  if word == 'each' or runs then reply = {'running', step} end
  if self.has_ended(o, step) then reply = {'ended'} end
elseif (act == 'suspend' and (not live or o.state == 'suspended'))
  or (act == 'cancel' and not live and o.state ~= 'failed')
  or (act == 'reset' and o.state == 'scheduled')
  or (act == 'resume' and not to and o.state ~= 'suspended' and o.state ~= 'failed') then
  reply = {'state', o.state}
end
if reply then return lane_keep(lane, number, digest, reply) end

-- Go on, in the chain or in front of it.
local function go_on()
  for _, name in ipairs(o.line) do
    if o.at[name] == 'failed' then
      local each = o.key .. ':each:' .. name
      local expanded = redis.call('HEXISTS', each, 'count') == 1
      if expanded then redis.call('HSET', each, 'failed', 0) end
      self.place(o, name, expanded and 'each' or 'held')
    end
  end
  for _, field in ipairs({'error', 'error_step', 'suspended', 'finished'}) do self.put(o, field, false) end
  if #o.line == 0 or redis.call('ZSCORE', ns .. 'chain:' .. o.chain .. ':started', id) then  -- nowhere: it ends
    self.to_state(o, 'running')
    self.go(o)
  elseif o.due and tonumber(o.due) > now and redis.call('HEXISTS', o.key, 'started') == 0 then
    self.to_state(o, 'scheduled')
    self.go(o)
  else
    self.line_up_order(o)
  end
end

-- A full server lets the rest through after this.
redis.call('ZREM', ns .. 'chain:' .. o.chain .. ':waiting', '')
self.note(o, act .. (step ~= '' and ' ' .. step or '') .. ' by ' .. by)
local told = nil
if to or act == 'reset' then
  self.park(o)
  o.halted = true
  if act == 'reset' then self.begin_anew(o) else self.send(o, step) end
  o.halted = nil
  if o.state ~= 'suspended' or act == 'resume' then go_on() else self.over(o) end
elseif act == 'resume' then
  go_on()
elseif act == 'suspend' then
  self.park(o)
  self.put(o, 'suspended', now .. ' ' .. by)
  self.to_state(o, 'suspended')
elseif act == 'skip' then
  local skips, skip = self.listed(o.skips)
  if not skip[step] then self.put(o, 'skips', table.concat(skips, ' ') .. (skips[1] and ' ' or '') .. step) end
  local word = o.at[step]
  self.leave_gate(o, step)
  if word and string.find(word, '^%d+$') then self.place(o, step, self.take_back(word)) end
  if word == 'failed' then self.forget_each(o, step) end
  if word then self.arrive(o, step) end
  if word == 'failed' and not self.is_failed(o) then go_on() end
else
  self.park(o)
  self.put(o, 'leaving', act)
  if act == 'cancel' then self.stop_runs(o, by) end
  local left = self.leave(o)
  told = not left and 'asked' or act == 'remove' and 'removed' or nil
end
self.save(o)
finish_done()
orders_done()
seats_done()
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'order', id, act, by)
audit(ns .. 'audit', by, act, 'order ' .. id, step)
return lane_keep(lane, number, digest, {'ok', told or o.state})
