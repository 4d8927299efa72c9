-- chain_admit: let orders that stand in front of a chain, or of a step that was stopped, go on as far as they may: a bite of
-- them. If the step is skipped, those whose job waits pass it too, whoever could run that. Workers are told of it like of a
-- schedule. Idempotent by nature: unnumbered.
--
-- Needs    _base _bells _lines _seats _facts _finish _withdraw _accept _elements _runs _steps _straight _orders
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  name      of the chain
--
-- Returns  ok        '1': there is more to do; '0'
--
-- Events   order id, state
local name, BITE = ARGV[1], 100
local key, self = ns .. 'chain:' .. name, orders()

-- Orders whose job of a skipped step waits pass it, from the one with that number on. Returns where to go on, or nil.
local function pass(step, from)
  local found = redis.call('ZRANGEBYSCORE', key .. ':started', from, '+inf', 'WITHSCORES', 'LIMIT', 0, BITE)
  for i = 1, #found, 2 do
    local o = self.read(found[i])
    local job = o and o.state == 'running' and string.match(o.at[step] or '', '^%d+$')
    local back = job and self.take_back(job)
    if back then
      self.place(o, step, back)
      self.arrive(o, step)
      self.over(o)
      self.save(o)
    end
  end
  return #found == 2 * BITE and string.format('%.0f', found[#found] + 1) or nil
end

redis.call('ZREM', ns .. 'schedules', 'chain:' .. name)
local opening, more = self.listed(redis.call('HGET', key, 'opening')), false
for _, step in ipairs(opening) do
  local line, left = key .. ':held:' .. step, BITE
  local _, gate = self.gate(name, step)
  local heads = gate ~= 'stop' and redis.call('ZRANGE', line, 0, left - 1) or {}
  if #heads > 0 then redis.call('ZREM', line, unpack(heads)) end
  for _, head in ipairs(heads) do
    local o = self.read(string.match(head, ' (.*)$') or '')
    local due = o and string.match(o.at[step] or '', '^held@?(%d*)$')
    if due and o.state == 'running' then
      self.arrive(o, step, due ~= '' and due)
      self.over(o)
      self.save(o)
    end
  end
  local passing = 'passing.' .. step
  local from = gate == 'skip' and pass(step, redis.call('HGET', key, passing) or '-inf')
  if from then redis.call('HSET', key, passing, from) else redis.call('HDEL', key, passing) end
  more = more or #heads == left or from
  if #heads < left and not from then
    local still = self.without(self.listed(redis.call('HGET', key, 'opening')), step)
    if #still == 0 then redis.call('HDEL', key, 'opening') else redis.call('HSET', key, 'opening', table.concat(still, ' ')) end
  end
end
if self.admit(name, BITE) then more = true end
if more then self.admit_later(name) end
orders_done()
seats_done()
return {'ok', more and '1' or '0'}
