-- _reserve: takes the most urgent jobs a set of types has to give. Heads of lines are read in bites and only the
-- line that gave one is looked at again. Needs _base, _bells, _lines, _seats.

-- The lines of these types that may give jobs now, with their buffered heads.
local function open_lines(types, bite)
  local lines = {}
  local function add(type, uses, spec, if_lost)
    local key = line_key(type, uses)
    local heads = redis.call('ZRANGE', key, 0, bite - 1, 'WITHSCORES')
    if not heads[1] then return false end
    lines[#lines + 1] = {key = key, type = type, spec = spec, if_lost = if_lost, heads = heads, at = 1, gone = 0,
      priority = tonumber(heads[2])}
    return true
  end
  for _, type in ipairs(types) do
    local v = redis.call('HMGET', ns .. 'type:' .. type, 'paused', 'uses', 'if_lost', 'lines', 'offers')
    if not v[1] then
      local if_lost = v[3] or 'interrupt'
      offers_said(type, v[5])
      add(type, nil, v[2] or 'none', if_lost)
      for uses in string.gmatch(v[4] or '', '%S+') do add(type, uses, uses, if_lost) end
    end
  end
  return lines
end

local function best_of(lines)
  local best
  for _, line in ipairs(lines) do
    if line.priority and (not best or line.priority < best.priority
      or (line.priority == best.priority and line.heads[line.at] < best.heads[best.at])) then best = line end
  end
  return best
end

-- The head was taken: step on, reading the next bite when this one is used up.
local function step(line, bite)
  line.at, line.gone = line.at + 2, line.gone + 1
  if not line.heads[line.at] then
    if line.gone > 0 and #line.heads == 2 * bite then
      line.heads, line.at = redis.call('ZRANGE', line.key, line.gone, line.gone + bite - 1, 'WITHSCORES'), 1
    else
      line.heads, line.at = {}, 1
    end
  end
  line.priority = tonumber(line.heads[line.at + 1])
end

-- Hand one job over: its lease, token, attempt and what happens if it is lost are written together.
local function hand_over(id, line, worker, token)
  local key = ns .. 'job:' .. id
  local job, attempt, had = redis.call('HGETALL', key), 1, false
  for i = 1, #job, 2 do
    if job[i] == 'attempt' then attempt = job[i + 1] + 1 end
    if job[i] == 'seats' then had = true end
  end
  if line.spec == 'none' then
    if had then redis.call('HDEL', key, 'seats') end
    redis.call('HSET', key, 'state', 'running', 'worker', worker, 'token', token, 'started', now, 'attempt', attempt,
      'if_lost', line.if_lost)
  else
    redis.call('HSET', key, 'state', 'running', 'worker', worker, 'token', token, 'started', now, 'attempt', attempt,
      'if_lost', line.if_lost, 'seats', line.spec)
  end
  return {id, attempt, job}
end

-- Up to `want` jobs of these types; returns them and their ids. What is left of each line rings the next worker if it
-- could start, and claims its seats if not. `was_idle`: the worker's claims counted, and lapse if it is busy now.
local function reserve(offered, want, worker, token, deadline, was_idle)
  local types = {}
  for type in string.gmatch(offered, '%S+') do types[#types + 1] = type end
  local bite = math.ceil(want / #types) + 1  -- one more tells what is left for others
  local lines, jobs, taken, leases = open_lines(types, bite), {}, {}, {}
  while true do
    local line = best_of(lines)
    if not line then break end
    local id, full = line.heads[line.at], #jobs >= want
    if full and not anyone_idle() then break end
    local free = not (full and not has_idle(line.type)) and (line.spec == 'none'
      or take_seats(line.spec, line.priority, id, 'job:' .. id .. ':' .. token, deadline, line.type, full))
    if full then
      if free then ring(line.type, 1) end
      line.priority = nil
    elseif free then
      jobs[#jobs + 1] = hand_over(id, line, worker, token)
      taken[#taken + 1] = id
      leases[#leases + 1], leases[#leases + 2] = deadline, id
      line[#line + 1] = id
      step(line, bite)
    else
      line.priority = nil
    end
  end
  for _, line in ipairs(lines) do
    if #line > 0 then redis.call('ZREM', line.key, unpack(line)) end
    if was_idle and #jobs >= want and line.spec ~= 'none' and not has_idle(line.type) then claims_lapse(line.type) end
  end
  if #leases > 0 then redis.call('ZADD', ns .. 'running', unpack(leases)) end
  return jobs, taken
end
