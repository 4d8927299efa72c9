-- _promote: does what the passing of time asks for, at most `most` of each a call: ends jobs that were not to start
-- after a moment that is past, then moves those that are due from scheduled to their line (T5). A damaged record is
-- dropped: it must not stop the others. Needs _base, _bells, _lines, _seats, _finish, _withdraw.
local too_late = {}

local function ends_late(id, listeners)
  too_late[#too_late + 1] = id
  finish(id, 'expired', listeners)
end

-- Those that have started or ended, or have been submitted again, stand in expiring until they come up here.
local function expire(most)
  local up = redis.call('ZRANGEBYSCORE', ns .. 'expiring', '-inf', '(' .. now, 'LIMIT', 0, most)
  if #up == 0 then return end
  redis.call('ZREM', ns .. 'expiring', unpack(up))
  for _, id in ipairs(up) do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'type', 'uses', 'listeners', 'expires')
    if (job[1] == 'ready' or job[1] == 'scheduled') and job[2] and job[5] and tonumber(job[5]) < now then
      leave_place(id, job[1], job[2], job[3])
      ends_late(id, job[4])
    end
  end
end

local function promote(most)
  expire(most)
  local due = redis.call('ZRANGEBYSCORE', ns .. 'scheduled', '-inf', now, 'LIMIT', 0, most)
  for _, id in ipairs(due) do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'type', 'uses', 'priority')
    redis.call('ZREM', ns .. 'scheduled', id)
    if job[1] and job[3] then
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready')
      line_up(id, job[1], job[2], job[3])
    end
  end
  return #due
end

-- Write who came too late, by promote or by reserve; comes after both, and before seats_done.
local function late_done()
  finish_done()
  if #too_late > 0 then
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'expired', table.concat(too_late, ' '))
  end
end
