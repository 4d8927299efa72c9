-- _lines: where waiting jobs stand. ready:<type> holds jobs that use what their type uses, ready:<type>|<uses>
-- those that say otherwise ('none' or 'pool=n,...'); score = priority, member = id, so Redis itself keeps the order
-- (priority, sequence). The type's hash lists its further lines. Needs _base, _bells.
local function line_key(type, uses)
  if uses then return ns .. 'ready:' .. type .. '|' .. uses end
  return ns .. 'ready:' .. type
end

-- Make sure that the type is listed, and that line of it. Returns the offers that index its heads, and what it uses.
local function line_known(type, uses)
  local key = ns .. 'type:' .. type
  local known = redis.call('HMGET', key, 'since', 'lines', 'indexed', 'uses')
  if not known[1] then
    redis.call('HSET', key, 'since', now)
    redis.call('SADD', ns .. 'types', type)
  end
  if uses and not string.find(' ' .. (known[2] or '') .. ' ', ' ' .. uses .. ' ', 1, true) then
    redis.call('HSET', key, 'lines', (known[2] and known[2] .. ' ' or '') .. uses)
  end
  return known[3], uses or known[4] or 'none'
end

-- Offers of many types have an index: heads:<offer>|<spec> holds 'id type uses' of the head of every line that uses
-- that, score = priority; heads:<offer> lists the specs. An entry may be too good (its job has left, whoever reads it
-- puts that right), never too bad: so only what is added to a line is told here.
local function index_head(type, uses, indexed, spec)
  if not indexed or indexed == '' then return end
  local head = redis.call('ZRANGE', line_key(type, uses), 0, 0, 'WITHSCORES')
  if not head[1] then return end
  for offer in string.gmatch(indexed, '%S+') do
    redis.call('SADD', ns .. 'heads:' .. offer, spec)
    redis.call('ZADD', ns .. 'heads:' .. offer .. '|' .. spec, head[2],
      head[1] .. ' ' .. type .. (uses and ' ' .. uses or ''))
  end
end

-- Tell the heads of all lines of a type: when it is offered, or may start again.
local function index_type(type)
  local known = redis.call('HMGET', ns .. 'type:' .. type, 'indexed', 'uses', 'lines')
  index_head(type, nil, known[1], known[2] or 'none')
  for uses in string.gmatch(known[3] or '', '%S+') do index_head(type, uses, known[1], uses) end
end

-- Nobody supports these types together any more.
local function forget_offer(offer)
  local index = ns .. 'heads:' .. offer
  for _, spec in ipairs(redis.call('SMEMBERS', index)) do redis.call('DEL', index .. '|' .. spec) end
  redis.call('DEL', index, ns .. 'offer:' .. offer, ns .. 'idle:' .. offer)
end

-- Put a job at its place in its line and ring for it. If it may not start after `expires`, that is looked after again.
local function line_up(id, type, uses, priority, expires)
  local indexed, spec = line_known(type, uses)
  redis.call('ZADD', line_key(type, uses), priority, id)
  index_head(type, uses, indexed, spec)
  if expires then redis.call('ZADD', ns .. 'expiring', expires, id) end
  ring(type, 1)
end
