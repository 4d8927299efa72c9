-- _idle: registers a worker that found too little, so that bells ring for it, in the step in which it looked. Of all
-- who wait, one holds the alarm: it wakes at the next moment, of a job or of what is planned. Needs _base, _bells, _promote.

-- How long (ms) until that, or -1 if this worker does not hold the alarm for it. What is planned and overdue has been told
-- to somebody: it wakes nobody again.
local function alarm(worker, block, may_take)
  local next = redis.call('ZRANGE', ns .. 'scheduled', 0, 0, 'WITHSCORES')
  local planned = upcoming or redis.call('ZRANGEBYSCORE', ns .. 'schedules', '(' .. now, '+inf', 'WITHSCORES',
    'LIMIT', 0, 1)[2]
  local due = math.min(tonumber(next[2] or now + block), tonumber(planned or now + block))
  if due >= now + block then return -1 end
  local holder = redis.call('GET', ns .. 'alarm')
  if holder ~= worker and (holder or not may_take) then return -1 end
  if may_take then redis.call('SET', ns .. 'alarm', worker, 'PX', block + 1000) end
  return math.max(0, due - now)
end

local function rest(worker, offer, free, bell, block, lease)
  redis.call('ZADD', ns .. 'idle:' .. offer, free, worker)
  if redis.call('HSET', ns .. 'worker:' .. worker, 'bell', bell, 'idle_until', now + block + 1000, 'free', free) == 3 then
    redis.call('PEXPIRE', ns .. 'worker:' .. worker, lease)  -- its presence may have expired; a renewal tells
  end
  return alarm(worker, block, true)
end

-- It is busy now: somebody else takes the alarm.
local function pass_alarm(worker)
  if redis.call('GET', ns .. 'alarm') ~= worker then return end
  redis.call('DEL', ns .. 'alarm')
  ring_anyone()
end
