-- _lines: where waiting jobs stand. ready:<type> holds jobs that use what their type uses, ready:<type>|<uses>
-- those that say otherwise ('none' or 'pool=n,...'); score = priority, member = id, so Redis itself keeps the order
-- (priority, sequence). The type's hash lists its further lines. Needs _base, _bells.
local function line_key(type, uses)
  if uses then return ns .. 'ready:' .. type .. '|' .. uses end
  return ns .. 'ready:' .. type
end

-- Make sure that the type is listed, and that line of it.
local function line_known(type, uses)
  local key = ns .. 'type:' .. type
  local known = redis.call('HMGET', key, 'since', 'lines')
  if not known[1] then
    redis.call('HSET', key, 'since', now)
    redis.call('SADD', ns .. 'types', type)
  end
  if uses and not string.find(' ' .. (known[2] or '') .. ' ', ' ' .. uses .. ' ', 1, true) then
    redis.call('HSET', key, 'lines', (known[2] and known[2] .. ' ' or '') .. uses)
  end
end

-- Put a job at its place in its line and ring for it.
local function line_up(id, type, uses, priority)
  line_known(type, uses)
  redis.call('ZADD', line_key(type, uses), priority, id)
  ring(type, 1)
end
