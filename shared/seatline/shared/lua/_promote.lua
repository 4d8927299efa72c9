-- _promote: does what the passing of time asks for, at most `most` a call: moves jobs that are due from scheduled to
-- their line (T5), ends those that were not to start so late, and opens windows (T9); finish_done and seats_done follow. A
-- damaged record is dropped: it must not stop the others. Needs _base, _bells, _lines, _seats, _finish, _withdraw.
local upcoming = nil  -- the next moment that is planned, if this call has looked and nothing is due

-- Those that have started or ended, or have been submitted again, stand in expiring until they come up here.
local function expire(most)
  local up = redis.call('ZRANGEBYSCORE', ns .. 'expiring', '-inf', '(' .. now, 'LIMIT', 0, most)
  if #up == 0 then return end
  redis.call('ZREM', ns .. 'expiring', unpack(up))
  for _, id in ipairs(up) do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'type', 'uses', 'listeners', 'expires')
    if (job[1] == 'ready' or job[1] == 'scheduled') and job[2] and job[5] and tonumber(job[5]) < now then
      leave_place(id, job[1], job[2], job[3])
      finish(id, 'expired', job[4])
    end
  end
end

-- Returns the names (at most 16) of what is due and for a worker to compute: schedules, and windows that have closed.
local function promote(most)
  local due = redis.call('ZRANGEBYSCORE', ns .. 'scheduled', '-inf', now, 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'type', 'uses', 'priority')
    redis.call('ZREM', ns .. 'scheduled', id)
    if job[1] and job[3] then
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready')
      line_up(id, job[1], job[2], job[3])
    end
  end
  local head = redis.call('ZRANGE', ns .. 'schedules', 0, 0, 'WITHSCORES')
  upcoming = tonumber(head[2] or now + 86400000)
  if upcoming > now then return {} end
  upcoming = nil
  local names = redis.call('ZRANGEBYSCORE', ns .. 'schedules', '-inf', now, 'LIMIT', 0, 16)
  for i = #names, 1, -1 do
    local type = string.match(names[i], '^window:(.*)$')
    local v = type and redis.call('HMGET', ns .. 'type:' .. type, 'opens', 'closes')
    if type and not (v[1] and v[2]) then
      redis.call('ZREM', ns .. 'schedules', table.remove(names, i))
    elseif type and tonumber(v[1]) <= now and now < tonumber(v[2]) then
      redis.call('ZADD', ns .. 'schedules', v[2], table.remove(names, i))
      index_type(type)
      ring(type, 1000000)
    end
  end
  return names
end
