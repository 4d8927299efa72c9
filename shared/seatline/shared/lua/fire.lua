-- fire: enqueue what schedules have due, and set their next moments. Each is compared first: one that was changed, or was
-- fired by another worker meanwhile, is left as it is, so no moment is fired twice (T7); jobs and next moment are written
-- together, so none is lost either.
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _withdraw _lacking _accept _elements _runs _steps _straight _orders _start
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  worker    that fires
-- ARGV[4]  count     schedules that follow, at most 16
-- ARGV[5]  schedules each six words: name, version and planned moment as they were read, the next moment or '' (none),
--                    the last moment that is fired or '', why it cannot be computed or ''; then jobs, and that many in the
--                    words that submit takes, or orders, in those of order_start
--
-- Returns  ok        a word for each schedule: fired, past (changed, or fired by another), closed (the namespace takes no
--                    jobs), tenant (it requires one), busy (its last run has not ended, T8), stuck (put off for a minute), chain (likewise:
--                    there is none of that name);
--                    the id of the last job or order of each, or '-'; the names of what else is planned and due
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   fired (name ...), by; submitted first, count
local lane, number, digest, worker, count, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), 5
local NEVER, PUT_OFF = '9007199254740991', 60000

local known = lane_known(lane, number, digest)
if known then return known end

-- Look: which of them are as they were read, and may fire?
local gates = redis.call('HMGET', ns .. 'about', 'closed', 'tenant')
local look, accept = acceptance()
local shots, words, at, taken = {}, {}, FIRST, 0
for i = 1, count do
  local shot = {name = ARGV[at], next = ARGV[at + 3], last = ARGV[at + 4], error = ARGV[at + 5], jobs = tonumber(ARGV[at + 6])}
  local v = redis.call('HMGET', ns .. 'schedule:' .. shot.name, 'version', 'next', 'paused', 'after_end', 'last_job', 'chain')
  local word = shot.error == '' and 'fired' or 'stuck'
  if v[1] ~= ARGV[at + 1] or v[2] ~= ARGV[at + 2] or v[3] then
    word = 'past'
  elseif shot.jobs > 0 and gates[1] then
    word = 'closed'
  elseif shot.jobs > 0 and v[4] and v[5] then
    local run = (v[6] and 'order:' or 'job:') .. v[5]
    if is_alive(redis.call('HGET', ns .. run, 'state')) then word, shot.run = 'busy', run end
  end
  if word == 'fired' and v[6] and not is_chain(v[6]) then
    word, shot.error = 'chain', 'there is no chain ' .. v[6]
  end
  at = at + 7
  local first = taken
  for _ = 1, shot.jobs do
    local last = at + HEAD - 1 + tonumber(ARGV[at])
    if word == 'fired' and gates[2] and not names_field('tenant', at + HEAD, last) then word = 'tenant' end
    if word == 'fired' and v[6] then
      shot.orders = shot.orders or {}
      shot.orders[#shot.orders + 1] = at
    elseif word == 'fired' then
      look(at)
      taken = taken + 1
    end
    at = last + 1
  end
  shot.final = taken > first and taken
  shots[i], words[i] = shot, word
end

-- Write.
local _, _, ids = accept()
local told, runs, moved = {}, {}, {}
for i, shot in ipairs(shots) do
  local key, word, score = ns .. 'schedule:' .. shot.name, words[i], nil
  runs[i] = '-'
  if word == 'fired' then
    score = shot.next ~= '' and shot.next or NEVER
    local run = shot.final and ids[shot.final]
    for _, start in ipairs(shot.orders or {}) do run = start_order(start).id end
    if run then
      runs[i], told[#told + 1] = run, shot.name
      redis.call('HSET', key, 'last', shot.last, 'last_job', run)
      if shot.orders then shot.over = not is_alive(redis.call('HGET', ns .. 'order:' .. run, 'state')) end
    end
    redis.call('HDEL', key, 'error')
    if shot.next == '' then redis.call('HDEL', key, 'next') else redis.call('HSET', key, 'next', shot.next) end
  elseif word == 'stuck' or word == 'chain' then
    score = string.format('%.0f', now + PUT_OFF)
    redis.call('HSET', key, 'error', shot.error)
  end
  if score then
    redis.call('ZADD', ns .. 'schedules', score, shot.name)
    moved[shot.name] = true
  end
  if shot.over then tell_end(runs[i], '>' .. shot.name) end  -- it had ended before its schedule knew it
end
for i, shot in ipairs(shots) do
  local run = shot.run and ns .. shot.run
  if words[i] == 'busy' and is_alive(redis.call('HGET', run, 'state')) then  -- else an order of this call has let it end
    if string.sub(shot.run, 1, 6) == 'order:' then redis.call('HSET', run, 'odd', 1) end
    redis.call('HSET', run, 'listeners', '>' .. shot.name .. ' ' .. (redis.call('HGET', run, 'listeners') or ''))
    redis.call('HDEL', ns .. 'schedule:' .. shot.name, 'next')
    redis.call('ZADD', ns .. 'schedules', NEVER, shot.name)
  end
end
alarm_anew(moved, 'schedules', '(' .. now)
orders_done()
seats_done()
if #told > 0 then
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'fired', table.concat(told, ' '), 'by', worker)
end
local more = redis.call('ZRANGEBYSCORE', ns .. 'schedules', '-inf', now, 'LIMIT', 0, 16)
local reply = {'ok', table.concat(words, ' '), table.concat(runs, ' '), table.concat(more, ' ')}
return lane_keep(lane, number, digest, reply)
