-- offer: a worker tells which types it supports, and what each uses and does when lost (S13). Idempotent by nature.
--
-- Needs    _base _bells _lines
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  worker    its id
-- ARGV[2]  offer     digest of what follows: equal offers are one
-- ARGV[3]  presence  ms until it counts as gone unless renewed
-- ARGV[4]  fields    words that follow for the worker's hash (host, pid, slots, ...), then
-- ARGV[5]  types     each three words: type, uses ('none' or 'pool=n,...'), if_lost
--
-- Returns  ok        now
--          differs   type, the live worker that declares it otherwise, its host, its pid, what it says
--
-- Events   none
local worker, offer, presence, fields, FIRST = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), 5
local start = FIRST + fields
-- With so many types a turn reads the index of heads instead of every line (measured: reliability, scanning costs 2 us a line).
local MANY = 30

-- A live worker, other than this one, whose offer is one of these.
local function live_worker(offers)
  local live = redis.call('ZRANGEBYSCORE', ns .. 'workers', now, '+inf', 'LIMIT', 0, 1000)
  for _, other in ipairs(live) do
    local v = redis.call('HMGET', ns .. 'worker:' .. other, 'offer', 'host', 'pid')
    if other ~= worker and v[1] and string.find(' ' .. offers .. ' ', ' ' .. v[1] .. ' ', 1, true) then
      return other, v[2] or '', v[3] or ''
    end
  end
end

local types, names = {}, {}
for at = start, #ARGV - 2, 3 do
  local type, uses, if_lost = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local v = redis.call('HMGET', ns .. 'type:' .. type, 'uses', 'if_lost', 'offers', 'indexed')
  types[#types + 1], names[#names + 1] = {type, uses, if_lost, v[3] or '', v[4] or ''}, type
  if v[1] and v[3] and (v[1] ~= uses or v[2] ~= if_lost) then
    local other, host, pid = live_worker(v[3])
    if other then return {'differs', type, other, host, pid, 'uses ' .. v[1] .. ', if_lost ' .. v[2]} end
  end
end

redis.call('ZREM', ns .. 'workers', '')  -- a full server lets the rest through: who comes to drain it may register
local key = ns .. 'offer:' .. offer
for _, t in ipairs(types) do
  local type, uses, if_lost, offers, indexed = t[1], t[2], t[3], {offer}, {}
  -- Offers that nobody renews any more are left out here; it is the only place where the list grows.
  for other in string.gmatch(t[4], '%S+') do
    if other ~= offer and redis.call('EXISTS', ns .. 'offer:' .. other) == 1 then
      offers[#offers + 1] = other
      if string.find(' ' .. t[5] .. ' ', ' ' .. other .. ' ', 1, true) then indexed[#indexed + 1] = other end
    end
  end
  if #types > MANY then indexed[#indexed + 1] = offer end
  redis.call('HSET', ns .. 'type:' .. type, 'uses', uses, 'if_lost', if_lost, 'offers', table.concat(offers, ' '))
  redis.call('HSETNX', ns .. 'type:' .. type, 'since', now)
  redis.call('SADD', ns .. 'types', type)
  if #indexed > 0 or t[5] ~= '' then
    redis.call('HSET', ns .. 'type:' .. type, 'indexed', table.concat(indexed, ' '))
    index_type(type)
  end
end
local lasts = math.max(tonumber(presence), redis.call('PTTL', key))  -- another worker of it may sleep for longer
redis.call('SET', key, (#names > MANY and '* ' or '') .. table.concat(names, ' '), 'PX', lasts)
for _, other in ipairs(redis.call('SMEMBERS', ns .. 'offers')) do
  if redis.call('EXISTS', ns .. 'offer:' .. other) == 0 then
    redis.call('SREM', ns .. 'offers', other)
    forget_offer(other)
  end
end
redis.call('SADD', ns .. 'offers', offer)
redis.call('HSET', ns .. 'worker:' .. worker, 'offer', offer, 'seen', now, unpack(ARGV, FIRST, start - 1))
redis.call('PEXPIRE', ns .. 'worker:' .. worker, presence)
redis.call('ZADD', ns .. 'workers', now + tonumber(presence), worker)
return {'ok', now}
