-- _seats: who holds which seats, and who has the next claim on them. The sessions (owner|n -> deadline) are the
-- truth; in_use is a counter that expires and is then counted anew, so it cannot drift. A claim is the place of a
-- waiting job (or program) in the pool's line; it counts only while a worker of its type is idle, or the program
-- asks, and only if it could be had at all. Pools are read once a call. Needs _base, _bells.
local COUNTER_LIFE = 60000
local CLAIMS_SEEN = 32
local pools, specs = {}, {}

-- 'vault=1,gpu=2' -> {{'vault', 1}, {'gpu', 2}}; 'none' -> {}
local function seats_of(spec)
  local list = specs[spec]
  if not list then
    list = {}
    for name, n in string.gmatch(spec, '([^=,]+)=(%d+)') do list[#list + 1] = {name, tonumber(n)} end
    specs[spec] = list
  end
  return list
end

local function need_of(spec, name)
  for _, seat in ipairs(seats_of(spec)) do
    if seat[1] == name then return seat[2] end
  end
  return 0
end

local function pool_of(name)
  local pool = pools[name]
  if pool then return pool end
  local key = ns .. 'pool:' .. name
  local v = redis.call('HMGET', key, 'capacity', 'external', 'external_until', 'keep', 'keep_priority')
  local told = redis.call('MGET', key .. ':in_use', key .. ':refused')
  pool = {name = name, key = key, known = v[1] and true or false, capacity = tonumber(v[1] or 0), external = 0,
    keep = tonumber(v[4] or 0), keep_priority = tonumber(v[5] or 0), granted = {}, life = COUNTER_LIFE,
    refused = tonumber(string.match(told[2] or '', '^%d+') or 0) > now}
  if v[2] and (not v[3] or tonumber(v[3]) > now) then pool.external = tonumber(v[2]) end
  pool.used = tonumber(told[1])
  if not pool.used then
    pool.used = 0
    for _, session in ipairs(redis.call('ZRANGE', key .. ':sessions', 0, -1)) do
      pool.used = pool.used + tonumber(string.match(session, '|(%d+)$'))
    end
  end
  pools[name] = pool
  return pool
end

-- Seats that one of this priority could ever have: what is not external and not kept for the more urgent. While the real
-- licence server refuses it is none (C16); who holds seats keeps them.
local function seats_at_all(pool, priority)
  if pool.refused then return 0 end
  local kept = 0
  if pool.keep > 0 and priority > pool.keep_priority then kept = pool.keep end
  return pool.capacity - pool.external - kept
end

-- Whether these seats could be had if nobody held any.
local function possible(spec, priority)
  for _, seat in ipairs(seats_of(spec)) do
    if seats_at_all(pool_of(seat[1]), priority) < seat[2] then return false end
  end
  return true
end

-- The claims that count, most urgent first: {priority, member, need, spec, type or nil for a program}. Of a line only
-- the head claims: one that was overtaken does not count. From a long list those that do not count are taken, lest
-- they hide others; they come back when a worker of their type looks.
local function claims_of(pool)
  if pool.claims then return pool.claims end
  pool.claims, pool.lined = {}, false
  local line, headed = redis.call('ZRANGE', pool.key .. ':waiting', 0, CLAIMS_SEEN - 1, 'WITHSCORES'), {}
  for i = 1, #line, 2 do
    local member, priority, need, type, spec = line[i], tonumber(line[i + 1]), 0, nil, nil
    local stays, counts = #line < 2 * CLAIMS_SEEN, false
    pool.lined = true
    if #member == 16 then
      local job = redis.call('HMGET', ns .. 'job:' .. member, 'state', 'type', 'uses')
      if job[1] == 'ready' and job[2] then
        type = job[2]
        spec = job[3] or redis.call('HGET', ns .. 'type:' .. type, 'uses') or 'none'
        need = need_of(spec, pool.name)
        local own = type .. '|' .. (job[3] or '')
        counts = need > 0 and not headed[own] and has_idle(type) and possible(spec, priority)
        headed[own] = true
      else
        stays = false
      end
    else
      need = tonumber(string.match(member, '|(%d+)$'))
      spec = pool.name .. '=' .. need
      stays = tonumber(redis.call('ZSCORE', pool.key .. ':callers', member) or 0) >= now
      counts = stays and possible(spec, priority)
      if not stays then redis.call('ZREM', pool.key .. ':callers', member) end
    end
    if counts then
      pool.claims[#pool.claims + 1] = {priority = priority, member = member, need = need, spec = spec, type = type}
    elseif not stays then
      redis.call('ZREM', pool.key .. ':waiting', member)
    end
  end
  return pool.claims
end

local function ahead(claim, priority, member)
  return claim.priority < priority or (claim.priority == priority and claim.member < member)
end

-- Seats free for this member of the pool's line: claims of the more urgent are left alone (S6).
local function seats_free(pool, priority, member)
  local free = seats_at_all(pool, priority) - pool.used
  if free <= 0 then return free end
  for _, claim in ipairs(claims_of(pool)) do
    if ahead(claim, priority, member) then free = free - claim.need end
  end
  return free
end

local function claim(pool, priority, member, need, spec, type)
  local list, at = claims_of(pool), 1
  for i, known in ipairs(list) do
    if known.member == member then return end
    if ahead(known, priority, member) then at = i + 1 end
  end
  table.insert(list, at, {priority = priority, member = member, need = need, spec = spec, type = type})
  pool.lined = true
  redis.call('ZADD', pool.key .. ':waiting', priority, member)
end

local function unclaim(pool, member)
  claims_of(pool)
  if not pool.lined then return end
  redis.call('ZREM', pool.key .. ':waiting', member)
  for i, known in ipairs(pool.claims) do
    if known.member == member then return table.remove(pool.claims, i) end
  end
end

-- All the seats of a spec or none (S1). Refusal claims them, unless they could never be had. With `only_look` nothing
-- is taken. Returns true if they were free.
local function take_seats(spec, priority, id, owner, deadline, type, only_look)
  local wanted, ok = seats_of(spec), true
  for _, seat in ipairs(wanted) do
    local pool = pool_of(seat[1])
    if seats_free(pool, priority, id) < seat[2] then ok = false end
  end
  if ok and only_look then return true end
  local ever = ok or possible(spec, priority)
  for _, seat in ipairs(wanted) do
    local pool = pool_of(seat[1])
    if ok then
      unclaim(pool, id)
      pool.used = pool.used + seat[2]
      pool.granted[#pool.granted + 1] = deadline
      pool.granted[#pool.granted + 1] = owner .. '|' .. seat[2]
      pool.life = math.max(pool.life, 2 * (deadline - now))
      pool.dirty = true
    elseif ever then
      claim(pool, priority, id, seat[2], spec, type)
    end
  end
  return ok
end

-- Undo a take_seats of this call, the last one: its job does not start after all.
local function untake_seats(spec)
  for _, seat in ipairs(seats_of(spec)) do
    local pool = pool_of(seat[1])
    local last = #pool.granted
    pool.granted[last], pool.granted[last - 1] = nil, nil
    pool.used = pool.used - seat[2]
    pool.look = true
  end
end

-- Give back what an owner holds of a spec; only what is really held counts, so it happens once.
local function free_seats(spec, owner)
  for _, seat in ipairs(seats_of(spec)) do
    local pool = pool_of(seat[1])
    if redis.call('ZREM', pool.key .. ':sessions', owner .. '|' .. seat[2]) == 1 then
      pool.used = pool.used - seat[2]
      pool.dirty, pool.look = true, true
    end
  end
end

-- Claims to these seats have lapsed: those behind them are rung in the end.
local function claims_lapse(spec)
  for _, seat in ipairs(seats_of(spec)) do pool_of(seat[1]).look = true end
end

local function type_lapses(type)
  local known = redis.call('HMGET', ns .. 'type:' .. type, 'uses', 'lines')
  for spec in string.gmatch((known[1] or '') .. ' ' .. (known[2] or ''), '%S+') do claims_lapse(spec) end
end

-- An administrator changed what may start: claims may have lapsed, or be possible again, in any pool.
local function look_everywhere()
  for _, name in ipairs(redis.call('SMEMBERS', ns .. 'pools')) do pool_of(name).look = true end
end

-- Ring for the claims that can have all their seats now.
local function ring_claims(pool)
  local free = pool.capacity - pool.external - pool.used
  for _, known in ipairs(claims_of(pool)) do
    free = free - known.need
    if free < 0 then return end
    local ok = true
    for _, seat in ipairs(seats_of(known.spec)) do
      if seats_free(pool_of(seat[1]), known.priority, known.member) < seat[2] then ok = false end
    end
    if ok and known.type then ring(known.type, 1) end
    if ok and not known.type then ring_bell(string.match(known.member, '([^:|]+)|%d+$')) end
  end
end

-- Write the sessions and counters that changed, then ring where seats were freed or claims have lapsed. Comes after all
-- that makes a worker idle or busy: whose claims count is looked up again.
local function seats_done()
  local changed = {}
  for _, pool in pairs(pools) do
    for i = 1, #pool.granted, 400 do
      redis.call('ZADD', pool.key .. ':sessions', unpack(pool.granted, i, math.min(i + 399, #pool.granted)))
    end
    if pool.dirty then
      redis.call('SET', pool.key .. ':in_use', string.format('%.0f', pool.used), 'PX', string.format('%.0f', pool.life))
    end
    if pool.look then changed[#changed + 1] = pool end
    if pool.lined then pool.claims = nil end
  end
  table.sort(changed, function(a, b) return a.name < b.name end)
  for _, pool in ipairs(changed) do ring_claims(pool) end
end
