-- _facts: what has happened that a trigger is to hear of: written down in the step that makes it true, for a worker to make the
-- jobs (Q20). The functions are made when they are wanted, as fields of what facts() returns. Needs _base, _bells.
local the_facts

local function facts()
  if the_facts then return the_facts end
  local self, triggered = {told = {}}, {}  -- told: events of this very call; the worker that makes it hears of them at once
  the_facts = self

  -- Whether something is triggered by an event.
  function self.is_triggered(event)
    if triggered[event] == nil then triggered[event] = redis.call('EXISTS', ns .. 'trigger:' .. event) == 1 end
    return triggered[event]
  end

  -- An event has happened, and something is triggered by it: a worker is to make the jobs. A fact is one text, names and
  -- values in turn, each as a netstring: its length, ':', itself, ','. `depth`: how many triggers lie before what has caused it;
  -- beyond the limit there is no further one, which the history of the job `id` tells.
  function self.happened(event, depth, names, values, id)
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
      self.told[#self.told + 1] = 'event:' .. event
      ring_anyone()
    end
  end

  -- A job has ended so, if something is triggered by that.
  function self.tell_of_job(id, event)
    if not self.is_triggered(event) then return end
    local names = {'type', 'state', 'attempt', 'error_type', 'error', 'worker', 'title', 'tags', 'tenant', 'order', 'chain', 'step'}
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'depth', unpack(names))
    local depth = table.remove(job, 1)
    names[#names + 1], job[#names + 1] = 'job', id
    self.happened(event, depth, names, job, id)
  end

  return self
end
