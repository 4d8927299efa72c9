-- _reserve: takes the most urgent jobs a set of types has to give. A source gives heads: either one line, read in
-- bites, or, for an offer of many types, the index of all lines that use the same. Only the source that gave one is
-- looked at again. Needs _base, _bells, _lines, _seats, _finish, _orders.

-- Step a line: the next head of the present bite, or of the next one.
local function step_line(line)
  line.at, line.gone = line.at + 2, line.gone + 1
  if not line.heads[line.at] and #line.heads == 2 * line.bite then
    line.heads, line.at = redis.call('ZRANGE', line.key, line.gone, line.gone + line.bite - 1, 'WITHSCORES'), 1
  end
  line.id, line.priority = line.heads[line.at], tonumber(line.heads[line.at + 1])
end

-- Pass over the head of a line: the others of that line have no better claim.
local function pass_line(line) line.priority = nil end

-- The lines of these types that may give jobs now.
local function open_lines(types, want)
  local lines, bite = {}, math.ceil(want / #types) + 1  -- one more tells what is left for others
  local function add(type, uses, spec, if_lost)
    local key = line_key(type, uses)
    local heads = redis.call('ZRANGE', key, 0, bite - 1, 'WITHSCORES')
    if heads[1] then
      lines[#lines + 1] = {step = step_line, pass = pass_line, key = key, type = type, spec = spec, if_lost = if_lost, bite = bite,
        heads = heads, at = 1, gone = 0, id = heads[1], priority = tonumber(heads[2])}
    end
  end
  for _, type in ipairs(types) do
    local v = redis.call('HMGET', ns .. 'type:' .. type, 'paused', 'uses', 'if_lost', 'lines', 'offers', 'opens',
      'closes')
    if not v[1] and not (v[6] and (tonumber(v[6]) > now or tonumber(v[7] or 0) <= now)) then
      local if_lost = v[3] or 'interrupt'
      offers_said(type, v[5])
      add(type, nil, v[2] or 'none', if_lost)
      for uses in string.gmatch(v[4] or '', '%S+') do add(type, uses, uses, if_lost) end
    end
  end
  return lines
end

-- The sources of an offer of many types: what its lines use, each with an index. These functions are made only for it.
local function open_index(offer)
  -- Look at the best entry of an index, behind those passed over, until one is true; what is not is put right. At most 200
  -- a call.
  local function look_up(group)
    group.id, group.priority = nil, nil
    for _ = 1, 200 do
      local best = redis.call('ZRANGE', group.index, group.passed, group.passed, 'WITHSCORES')
      if not best[1] then return end
      local id, type, uses = string.match(best[1], '^(%d+) (%S+) ?(.*)$')
      if uses == '' then uses = nil end
      local v = group.types[type] or redis.call('HMGET', ns .. 'type:' .. type, 'paused', 'uses', 'if_lost', 'offers',
        'indexed', 'opens', 'closes')
      if v[6] and (tonumber(v[6]) > now or tonumber(v[7] or 0) <= now) then v[1] = 'shut' end
      group.types[type] = v
      local head = redis.call('ZRANGE', line_key(type, uses), 0, 0, 'WITHSCORES')
      if not v[1] and head[1] == id and head[2] == best[2] and (uses or v[2] or 'none') == group.spec then
        offers_said(type, v[4])
        group.id, group.priority, group.entry = id, tonumber(best[2]), best[1]
        group.key, group.type, group.uses, group.if_lost = line_key(type, uses), type, uses, v[3] or 'interrupt'
        return
      end
      redis.call('ZREM', group.index, best[1])
      if not v[1] then index_head(type, uses, v[5], uses or v[2] or 'none') end
    end
  end

  -- Step an index: the job leaves its line at once, and the line's next head takes its place here.
  local function step_index(group)
    redis.call('ZREM', group.key, group.id)
    redis.call('ZREM', group.index, group.entry)
    index_head(group.type, group.uses, group.types[group.type][5], group.spec)
    look_up(group)
  end

  -- Pass over an entry of an index: the heads of other lines may have somebody idle, to ring or to claim for. So many of
  -- them, no more: those behind wait until it is less crowded, or for a look.
  local function pass_index(group)
    group.passed = group.passed + 1
    if group.passed < 64 then look_up(group) else group.id, group.priority = nil, nil end
  end

  local groups = {}
  for _, spec in ipairs(redis.call('SMEMBERS', ns .. 'heads:' .. offer)) do
    local group = {step = step_index, pass = pass_index, passed = 0, index = ns .. 'heads:' .. offer .. '|' .. spec, spec = spec, types = {}}
    look_up(group)
    if group.id then groups[#groups + 1] = group end
  end
  return groups
end

local function best_of(sources)
  local best
  for _, source in ipairs(sources) do
    if source.priority and (not best or source.priority < best.priority
      or (source.priority == best.priority and source.id < best.id)) then best = source end
  end
  return best
end

-- What a job has gathered goes with it, as it is stored.
local function hand_events(id, job)
  job[#job + 1], job[#job + 2] = 'events', table.concat(redis.call('LRANGE', ns .. 'job:' .. id .. ':events', 0, -1))
end

-- Hand one job over: its lease, token, attempt and what happens if it is lost are written together. What it keeps of
-- an earlier attempt goes: that error is among its attempts. Returns nil if it does not start: it was not to start so
-- late, or its order waits in front of that step.
local function hand_over(id, source, worker, token)
  local key = ns .. 'job:' .. id
  local job, attempt, expires, earlier, order, step, element = redis.call('HGETALL', key), 1, nil, false
  local if_lost, own, chain, enters, gathers = source.if_lost, nil, nil, nil, false
  for i = 1, #job, 2 do
    local name = job[i]
    if name == 'attempt' then
      attempt = job[i + 1] + 1
    elseif name == 'expires' then
      expires = tonumber(job[i + 1])
    elseif name == 'order' then
      order = job[i + 1]
    elseif name == 'step' then
      step = job[i + 1]
    elseif name == 'element' then
      element = job[i + 1]
    elseif name == 'if_lost' then
      own = job[i + 1]
    elseif name == 'chain' then
      chain = job[i + 1]
    elseif name == 'enters' then
      enters = true
    elseif name == 'gathers' then
      gathers = true
    elseif name == 'error' or name == 'seats' or name == 'progress' or name == 'overdue' then
      earlier = true
    end
  end
  if #job == 0 then  -- its order has taken it back a moment ago
    if source.spec ~= 'none' then untake_seats(source.spec) end
    return nil
  end
  if expires and expires < now then
    if source.spec ~= 'none' then untake_seats(source.spec) end
    finish(id, 'expired', redis.call('HGET', key, 'listeners'))
    return nil
  end
  if order then
    if_lost = own == 'interrupt' and own or 'rerun'
    local with = orders().begins(id, order, step, element, chain, enters)
    if not with then
      if source.spec ~= 'none' then untake_seats(source.spec) end
      return nil
    end
    for i = 1, #with do job[#job + 1] = with[i] end
  end
  if gathers then hand_events(id, job) end
  if earlier then
    redis.call('HDEL', key, 'error_type', 'error', 'traceback', 'seats', 'progress', 'overdue')
  end
  if source.spec == 'none' then
    redis.call('HSET', key, 'state', 'running', 'worker', worker, 'token', token, 'started', now, 'attempt', attempt,
      'if_lost', if_lost)
  else
    redis.call('HSET', key, 'state', 'running', 'worker', worker, 'token', token, 'started', now, 'attempt', attempt,
      'if_lost', if_lost, 'seats', source.spec)
  end
  return {id, attempt, job}
end

-- Up to `want` jobs of what is offered; returns them, their ids, and whether it is to look again: so many had come too
-- late. What is left of each source rings the next worker if it could start, and claims its seats if not. `was_idle`:
-- the worker's claims counted, and lapse if it is busy now.
local function reserve(offer, offered, want, worker, token, deadline, was_idle)
  local LATE_MOST = 200  -- so many that come too late are ended here, no more
  local types, sources, others, jobs, taken, leases, passed = {}, nil, nil, {}, {}, {}, 0
  if string.sub(offered, 1, 1) == '*' then
    sources = open_index(offer)
  else
    for type in string.gmatch(offered, '%S+') do types[#types + 1] = type end
    sources = open_lines(types, want)
  end
  while true do
    local best = best_of(sources)
    if not best or passed >= LATE_MOST then break end
    local id, full = best.id, #jobs >= want
    if full and others == nil then others = anyone_idle() end
    if full and not others then break end
    local free = not (full and not has_idle(best.type)) and (best.spec == 'none'
      or take_seats(best.spec, best.priority, id, 'job:' .. id .. ':' .. token, deadline, best.type, full))
    if full then
      if free then ring(best.type, 1) end
      best:pass()
    elseif free then
      local job = hand_over(id, best, worker, token)
      if job then
        jobs[#jobs + 1], taken[#taken + 1] = job, id
        leases[#leases + 1], leases[#leases + 2] = deadline, id
      else
        passed = passed + 1
      end
      if best.bite then best[#best + 1] = id end
      best:step()
    else
      best:pass()
    end
  end
  for _, source in ipairs(sources) do
    if #source > 0 then redis.call('ZREM', source.key, unpack(source)) end
    if was_idle and #jobs >= want and (source.index or not has_idle(source.type)) then claims_lapse(source.spec) end
  end
  if #leases > 0 then redis.call('ZADD', ns .. 'running', unpack(leases)) end
  return jobs, taken, passed >= LATE_MOST
end

-- What was reserved under this token and still is; said again after a lost reply.
local function reserved_before(ids, token)
  local jobs = {}
  for id in string.gmatch(ids, '%S+') do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token', 'attempt', 'order', 'step', 'element', 'gathers')
    if job[1] == 'running' and job[2] == token then
      local flat = redis.call('HGETALL', ns .. 'job:' .. id)
      for _, word in ipairs(job[4] and orders().handed(job[4], job[5], job[6]) or {}) do flat[#flat + 1] = word end
      if job[7] then hand_events(id, flat) end
      jobs[#jobs + 1] = {id, job[3], flat}
    end
  end
  return jobs
end
