-- _bells: wakes exactly as many idle workers as can use it. A bell is a list on which one connection blocks; it
-- holds one ring, and in front of it one 'look' (see ring_look), and expires. idle:<offer> holds the workers that found too little, by free slots announced: a
-- ring takes slots off that announcement, so the next ring goes to the next worker. Rung for all of them it stays, with
-- 0, until it looks: what waits for it is still claimed (S6). Needs _base.
local BELL_LIFE = 30000
local offers_of, said, idle_seen, halted = {}, {}, {}, nil

local function ring_bell(name)
  local bell = ns .. 'bell:' .. name
  local last = redis.call('LINDEX', bell, -1)
  if not last or last == 'look' then redis.call('RPUSH', bell, now) end
  redis.call('PEXPIRE', bell, BELL_LIFE)
end

-- Have a worker renew at once, be it idle or busy: what is asked of it (to stop a job, to pause) comes with the renewal.
-- A ring that lies there stays behind the look, so neither hides the other. One that has no bell now is asleep.
local function ring_look(worker)
  local name = redis.call('HGET', ns .. 'worker:' .. worker, 'bell')
  if not name or name == '' then return end
  local bell = ns .. 'bell:' .. name
  if redis.call('LINDEX', bell, 0) ~= 'look' then redis.call('LPUSH', bell, 'look') end
  redis.call('PEXPIRE', bell, BELL_LIFE)
end

-- The type's hash was read anyway: this is what it says.
local function offers_said(type, text) said[type] = text or '' end

-- The offers (sets of types that workers support) which contain this type; none while it is paused or outside its window.
local function offers(type)
  local list = offers_of[type]
  if list then return list end
  if not said[type] then
    local known = redis.call('HMGET', ns .. 'type:' .. type, 'offers', 'paused', 'opens', 'closes')
    local shut = known[3] and (tonumber(known[3]) > now or tonumber(known[4] or 0) <= now)
    offers_said(type, not known[2] and not shut and known[1])
  end
  list = {}
  for offer in string.gmatch(said[type], '%S+') do list[#list + 1] = offer end
  offers_of[type] = list
  return list
end

-- The idle worker of an offer that has most slots to be rung for: its id, slots, bell. A registration whose worker has
-- not looked again in time is dropped: its process is gone.
local function first_idle(offer)
  local idle = ns .. 'idle:' .. offer
  for _ = 1, 100 do
    local top = redis.call('ZREVRANGE', idle, 0, 0, 'WITHSCORES')
    if not top[1] then return nil end
    local known = redis.call('HMGET', ns .. 'worker:' .. top[1], 'bell', 'idle_until')
    if known[1] and tonumber(known[2] or 0) >= now then return top[1], tonumber(top[2]), known[1] end
    redis.call('ZREM', idle, top[1])
  end
end

-- Whether a worker waits for jobs of this type, or has been rung and is about to look.
local function has_idle(type)
  if halted == nil then halted = redis.call('EXISTS', ns .. 'paused') == 1 end
  if halted then return false end
  for _, offer in ipairs(offers(type)) do
    idle_seen[offer] = idle_seen[offer] or first_idle(offer)
    if idle_seen[offer] then return true end
  end
  return false
end

-- Ring idle workers of an offer for at most `count` slots; returns the slots still wanted.
local function ring_offer(offer, count)
  for _ = 1, 100 do
    if count <= 0 then return 0 end
    local worker, free, bell = first_idle(offer)
    if not worker or free <= 0 then return count end
    local taken = math.min(free, count)
    redis.call('ZINCRBY', ns .. 'idle:' .. offer, -taken, worker)
    ring_bell(bell)
    count = count - taken
  end
  return count
end

local function ring(type, count)
  for _, offer in ipairs(offers(type)) do
    if count <= 0 then return end
    count = ring_offer(offer, count)
  end
end

local function anyone_idle()
  for _, offer in ipairs(redis.call('SMEMBERS', ns .. 'offers')) do
    if redis.call('ZCARD', ns .. 'idle:' .. offer) > 0 then return true end
  end
  return false
end

-- One idle worker, whichever: somebody has to hold the alarm.
local function ring_anyone()
  for _, offer in ipairs(redis.call('SMEMBERS', ns .. 'offers')) do
    if ring_offer(offer, 1) == 0 then return end
  end
end

-- Some members (member -> true) have been given a moment. If one of them is the next of its zset to come, whoever holds
-- the alarm sets it anew; if nobody does, somebody is to.
local function alarm_anew(members, zset, least)
  if not members or not members[redis.call('ZRANGEBYSCORE', ns .. zset, least, '+inf', 'LIMIT', 0, 1)[1]] then return end
  local holder = redis.call('GET', ns .. 'alarm')
  local bell = holder and redis.call('HGET', ns .. 'worker:' .. holder, 'bell')
  if bell then ring_bell(bell) else ring_anyone() end
end

-- Everybody idle looks again: after an administrator changed what may start.
local function ring_everyone()
  for _, offer in ipairs(redis.call('SMEMBERS', ns .. 'offers')) do ring_offer(offer, 1000000) end
end
