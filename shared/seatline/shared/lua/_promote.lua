-- _promote: moves jobs that are due from scheduled to their line, at most `most` a call (T5). An id whose record is
-- damaged is dropped: it must not stop the others. Needs _lines.
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
