-- _straight: the end of a step in the common case, in as few commands and words as can be, for it is what most turns do: its
-- order stands at this step alone and has nothing rare, the step ended well, and one plain step follows, or none. All else
-- goes by _runs and _steps, and this comes to the same. Needs _base, _runs.
local function with_straight(self)
  local RUNS_MOST, BYTES_MOST = 10000, 8388608
  local stamp, done, finished_any = string.format('%.0f', now), {}, false

  -- The plan of the one step that follows; false: none does; nil: it is not so simple. The same for all orders of a version.
  local function successor(order, s)
    if s.straight == nil and not s.aside and not s.next[2] then
      s.straight = false
      if s.next[1] then
        local next = self.step(order, s.next[1])
        local simple = next and not (next.after[2] or next.before or next.each or next.aside)
        if simple then s.straight = next else s.straight = nil end
      end
    end
    return s.straight
  end

  -- The order has succeeded; the zsets of all that have are written together, by have_succeeded.
  local function succeed(order, tenant, title)
    local list = done[order.chain] or {}
    done[order.chain], finished_any = list, true
    list[#list + 1] = order.id
    order.tenant, order.title = tenant, title
    self.has_finished('succeeded', 1)
    self.tell_of_end(order, 'succeeded')
  end

  function self.have_succeeded()
    if not finished_any then return end
    for chain, ids in pairs(done) do
      local scored = {}
      for i, id in ipairs(ids) do scored[2 * i - 1], scored[2 * i] = stamp, id end
      redis.call('ZREM', ns .. 'chain:' .. chain .. ':started', unpack(ids))
      redis.call('ZREM', ns .. 'orders:' .. 'running', unpack(ids))
      redis.call('ZADD', ns .. 'orders:' .. 'succeeded', unpack(scored))
      redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'order', table.concat(ids, ' '), 'state', 'succeeded')
    end
    done, finished_any = {}, false
  end

  -- `is`: the order as stored; `job`: by run_of. Returns whether it was so simple.
  function self.straight_on(id, order_id, is, job, result, said)
    local name, ended = job[7], is[7] or ''
    local order = {id = order_id, key = ns .. 'order:' .. order_id, chain = is[1], version = is[2]}
    if not name or job[8] or said['goto'] or is[12] or is[3] ~= 'running' or is[6] ~= name .. '=' .. id
      or not (is[1] and is[2] and is[4] and is[5]) then return false end
    local runs, bytes = tonumber(is[10] or 0), tonumber(is[11] or 0) + #result
    local s = self.step(order, name)
    local next, to = s and successor(order, s), nil
    if not s or next == nil or s.each or bytes > BYTES_MOST or runs >= RUNS_MOST then return false end
    if next then
      to = s.next[1]
      local _, gate = self.gate(order.chain, to)
      if gate ~= 'open' or self.is_among(ended, to) then return false end
    elseif self.gate(order.chain).most then
      return false
    end
    if self.is_among(ended, name) then return false end
    ended = (ended == '' and '' or ended .. ' ') .. name
    self.note_run(order, id, job, 'succeeded')
    local more = {}
    if result ~= '' then
      redis.call('HSET', order.key .. ':data', 'out.' .. name, result)
      more = {'bytes', bytes}
    end
    if next then
      local new, priority = self.next_number(), next.priority or is[5]
      local words = self.common(order.chain, to, next)
      if is[8] or is[9] then
        words = {unpack(words)}
        if is[8] then words[#words + 1], words[#words + 2] = 'tenant', is[8] end
        if is[9] then words[#words + 1], words[#words + 2] = 'title', is[9] end
      end
      redis.call('HSET', ns .. 'job:' .. new, 'state', 'ready', 'priority', priority, 'order', order_id, 'before', ended, unpack(words))
      self.to_line(next, priority, new)
      redis.call('HSET', order.key, 'now', to .. '=' .. new, 'ended', ended, 'runs', runs + 1, unpack(more))
    else
      redis.call('HSET', order.key, 'state', 'succeeded', 'now', '', 'ended', ended, 'finished', stamp, 'odd', 1, unpack(more))
      succeed(order, is[8], is[9])
    end
    return true
  end
end
