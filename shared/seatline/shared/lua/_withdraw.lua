-- _withdraw: takes a waiting job from its place, for what people do to jobs and others. If it had claimed seats, those
-- behind it look again: the next of its line never claimed while it stood in front. Needs _base, _bells, _lines, _seats.

-- To be followed by seats_done, once.
local function leave_place(id, state, type, uses)
  if state == 'scheduled' then return redis.call('ZREM', ns .. 'scheduled', id) end
  redis.call('ZREM', line_key(type, uses), id)
  local claimed = false
  for _, seat in ipairs(seats_of(uses or redis.call('HGET', ns .. 'type:' .. type, 'uses') or 'none')) do
    if redis.call('ZREM', ns .. 'pool:' .. seat[1] .. ':waiting', id) == 1 then
      claimed, pool_of(seat[1]).look = true, true
    end
  end
  if claimed then ring(type, 1) end
end

-- It leaves the place of those that have ended.
local function leave_end(id, state, type)
  redis.call('ZREM', ns .. 'finished:' .. state, id)
  if type then redis.call('ZREM', ns .. 'finished:' .. state .. '|' .. type, id) end
end

-- Whether a job is one of those that were chosen: in one of these states ('': any), and not ended after that moment ('': nobody
-- asks). What has ended anew since somebody looked is another matter.
local function is_chosen(state, finished, states, moment)
  if states ~= '' and not string.find(' ' .. states .. ' ', ' ' .. state .. ' ', 1, true) then return false end
  return moment == '' or tonumber(finished or 0) <= tonumber(moment)
end

-- A run that has left nothing else behind: which it was, whose, since when, and what came of it. Of those that follow each other
-- with the same end, as where the licence server refuses again and again, the last is told.
local function note_run(id, attempt, worker, started, what, ended_at)
  local key = ns .. 'job:' .. id .. ':history'
  local line = (ended_at or now) .. ' attempt ' .. (attempt or '?') .. ' by ' .. (worker or '?') .. ' from ' .. (started or '?') .. ': ' .. what
  local last = redis.call('LINDEX', key, -1) or ''
  if what == 'handed back, not begun' and string.sub(last, -#what) == what then redis.call('LTRIM', key, 0, -2) end
  redis.call('RPUSH', key, line)
  redis.call('LTRIM', key, -100, -1)
end

-- One line of a job's history: when, what, by whom.
local function note(id, text)
  local key = ns .. 'job:' .. id .. ':history'
  redis.call('RPUSH', key, now .. ' ' .. text)
  redis.call('LTRIM', key, -100, -1)
end
