-- _withdraw: takes a waiting job from its place. If it had claimed seats, those behind it look again: the next of
-- its line never claimed while it stood in front. Needs _base, _bells, _lines, _seats.

-- Returns whether it had claimed seats: then seats_done is to follow.
local function leave_place(id, state, type, uses)
  if state == 'scheduled' then
    redis.call('ZREM', ns .. 'scheduled', id)
    return false
  end
  redis.call('ZREM', line_key(type, uses), id)
  local claimed = false
  for _, seat in ipairs(seats_of(uses or redis.call('HGET', ns .. 'type:' .. type, 'uses') or 'none')) do
    if redis.call('ZREM', ns .. 'pool:' .. seat[1] .. ':waiting', id) == 1 then
      claimed, pool_of(seat[1]).look = true, true
    end
  end
  if claimed then ring(type, 1) end
  return claimed
end

local function withdraw(id, state, type, uses)
  if leave_place(id, state, type, uses) then seats_done() end
end

-- One line of a job's history: when, what, by whom.
local function note(id, text)
  local key = ns .. 'job:' .. id .. ':history'
  redis.call('RPUSH', key, now .. ' ' .. text)
  redis.call('LTRIM', key, -100, -1)
end
