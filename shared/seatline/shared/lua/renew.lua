-- renew: keep a worker's presence and the leases of all its jobs, and bring back what is asked of it. Also takes bites of
-- the common work (promote, trim) and a first look at leases that seem expired. Idempotent by nature: unnumbered.
--
-- Needs    _base _bells _lines _seats _facts _finish _kept _withdraw _accept _elements _runs _steps _straight _orders _promote
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  worker    its id
-- ARGV[2]  offer     digest of the types it supports
-- ARGV[3]  lease     ms until a job counts as lost
-- ARGV[4]  presence  ms until the worker itself counts as gone
-- ARGV[5]  keep_ms   age at which finished jobs are trimmed, where nobody has said otherwise (see keep)
-- ARGV[6]  keep      finished jobs kept of each state, likewise
-- ARGV[7]  fields    words that follow for the worker's hash, then
-- ARGV[8]  held      pairs id, token of the jobs it runs, at most 400
--
-- Returns  ok        now, known (1, or 0: register the offer again), a word for each pair ('held', 'cancel' = held, and
--                    asked to stop, 'lost' = not this worker's lease), then what seems expired: each kind, a, b, deadline,
--                    to be sent to reap after one renewal interval if unchanged; then what people ask of this worker:
--                    'pause', 'stop', 'stop-now' or ''; then the names of what is planned and due (see promote)
--
-- Events   expired id
local worker, offer, lease, presence = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local keep_ms, keep, fields, FIRST = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), 8

local held, words, deadline = {}, {}, now + lease
local sessions = {}
for at = FIRST + fields, #ARGV - 1, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token', 'cancel', 'seats')
  if job[1] == 'running' and job[2] == token then
    words[#words + 1] = job[3] and 'cancel' or 'held'
    held[#held + 1], held[#held + 2] = deadline, id
    for name, n in string.gmatch(job[4] or '', '([^=,]+)=(%d+)') do
      local list = sessions[name] or {}
      sessions[name] = list
      list[#list + 1], list[#list + 2] = deadline, 'job:' .. id .. ':' .. token .. '|' .. n
    end
  else
    words[#words + 1] = 'lost'
  end
end

redis.call('ZREM', ns .. 'running', '')
if #held > 0 then redis.call('ZADD', ns .. 'running', 'XX', unpack(held)) end
for name, list in pairs(sessions) do
  redis.call('ZADD', ns .. 'pool:' .. name .. ':sessions', 'XX', unpack(list))
  redis.call('PEXPIRE', ns .. 'pool:' .. name .. ':in_use', math.max(60000, 2 * lease))
end
redis.call('HSET', ns .. 'worker:' .. worker, 'seen', now, unpack(ARGV, FIRST, FIRST + fields - 1))
redis.call('PEXPIRE', ns .. 'worker:' .. worker, presence)
redis.call('ZADD', ns .. 'workers', now + tonumber(presence), worker)
redis.call('ZREMRANGEBYSCORE', ns .. 'workers', '-inf', now - 86400000)
local left = redis.call('PTTL', ns .. 'offer:' .. offer)
local known = left < 0 and 0 or 1
if known == 1 and left < tonumber(presence) then  -- it lasts longer where another worker of it sleeps
  redis.call('PEXPIRE', ns .. 'offer:' .. offer, presence)
end
local said = redis.call('HMGET', ns .. 'worker:' .. worker, 'offer', 'asked')
if not said[1] then known = 0 end  -- it was away: who it is has expired
expire(100)
local planned = promote(100)
finish_done()
seats_done()
for i = 2, #(ended.expired or {}), 2 do
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'expired', ended.expired[i])
end
for _, state in ipairs({'succeeded', 'skipped', 'failed', 'cancelled', 'expired', 'interrupted'}) do
  retention().trim(state, keep_ms, keep, 500)
end
orders().trim(keep_ms, keep, 20)

local suspects = {}
local late = redis.call('ZRANGEBYSCORE', ns .. 'running', '-inf', now, 'WITHSCORES', 'LIMIT', 0, 64)
for i = 1, #late, 2 do
  suspects[#suspects + 1] = {'job', late[i], redis.call('HGET', ns .. 'job:' .. late[i], 'token') or '', late[i + 1]}
end
late = redis.call('ZRANGEBYSCORE', ns .. 'programs', '-inf', now, 'WITHSCORES', 'LIMIT', 0, 64)
for i = 1, #late, 2 do
  suspects[#suspects + 1] = {'session', string.match(late[i], '^[^|]+'), string.match(late[i], '|(.*)$'), late[i + 1]}
end
-- A worker that is silent matters to nobody but who is to be told of it.
if facts().is_triggered('worker.lost') then
  late = redis.call('ZRANGEBYSCORE', ns .. 'workers', '-inf', now, 'WITHSCORES', 'LIMIT', 0, 64)
  for i = 1, #late, 2 do suspects[#suspects + 1] = {'worker', late[i], '', late[i + 1]} end
end
return {'ok', now, known, words, suspects, said[2] or '', planned}
