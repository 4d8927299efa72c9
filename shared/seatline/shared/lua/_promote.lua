-- _promote: does what the passing of time asks for, at most `most` a call: moves jobs that are due from scheduled to
-- their line (T5), and ends those that were not to start so late; finish_done and seats_done follow. A damaged record is
-- dropped: it must not stop the others. Needs _base, _bells, _lines, _seats, _finish, _withdraw.

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
  return #due
end
