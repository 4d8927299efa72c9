-- _bells: wakes exactly as many idle workers as can use it. A bell is a list on which one connection blocks; it
-- holds one element and expires. idle:<offer> holds the workers that found too little, by free slots announced: a
-- ring takes slots off that announcement, so the next ring goes to the next worker. Needs _base.
local BELL_LIFE = 30000
local offers_of, said = {}, {}

local function ring_bell(name)
  local bell = ns .. 'bell:' .. name
  if redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, now) end
  redis.call('PEXPIRE', bell, BELL_LIFE)
end

-- The type's hash was read anyway: this is what it says.
local function offers_said(type, text) said[type] = text or '' end

-- The offers (sets of types that workers support) which contain this type.
local function offers(type)
  local list = offers_of[type]
  if list then return list end
  list = {}
  for offer in string.gmatch(said[type] or redis.call('HGET', ns .. 'type:' .. type, 'offers') or '', '%S+') do
    list[#list + 1] = offer
  end
  offers_of[type] = list
  return list
end

local function has_idle(type)
  for _, offer in ipairs(offers(type)) do
    if redis.call('ZCARD', ns .. 'idle:' .. offer) > 0 then return true end
  end
  return false
end

-- Ring idle workers of an offer for at most `count` slots; returns the slots still wanted. A registration whose
-- worker has not looked again in time is dropped: its process is gone.
local function ring_offer(offer, count)
  local idle = ns .. 'idle:' .. offer
  for _ = 1, 100 do
    if count <= 0 then return 0 end
    local top = redis.call('ZREVRANGE', idle, 0, 0, 'WITHSCORES')
    if not top[1] then return count end
    local worker, free = top[1], tonumber(top[2])
    local known = redis.call('HMGET', ns .. 'worker:' .. worker, 'bell', 'idle_until')
    if known[1] and tonumber(known[2] or 0) >= now then
      local taken = math.min(free, count)
      if taken >= free then redis.call('ZREM', idle, worker) else redis.call('ZINCRBY', idle, -taken, worker) end
      ring_bell(known[1])
      count = count - taken
    else
      redis.call('ZREM', idle, worker)
    end
  end
  return count
end

local function ring(type, count)
  for _, offer in ipairs(offers(type)) do
    if count <= 0 then return end
    count = ring_offer(offer, count)
  end
end

-- Everybody idle looks again: after an administrator changed what may start.
local function ring_everyone()
  for _, offer in ipairs(redis.call('SMEMBERS', ns .. 'offers')) do ring_offer(offer, 1000000) end
end
