-- turn: a worker's whole exchange in one round trip: settle what it finished, then reserve the best jobs it can see
-- for its free slots, with their seats. A worker that finds too little is registered idle in the same step, so no
-- wake-up falls between.
--
-- Needs    _base _lane _bells _lines _seats _finish _promote _reserve
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the worker's lane; lane:number is the token of what it reserves
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  worker    its id
-- ARGV[4]  offer     digest of the types it supports
-- ARGV[5]  lease     ms until a reserved job counts as lost
-- ARGV[6]  want      free slots: at most so many jobs are reserved
-- ARGV[7]  bell      the bell it will wait on, or '' if it does not wait
-- ARGV[8]  block     ms it will wait before it looks again by itself
-- ARGV[9]  listed    '1' when its last turn may have registered it idle
-- ARGV[10] keep_ms   age at which finished jobs are trimmed
-- ARGV[11] keep      finished jobs kept of each state
-- ARGV[12] count     reports that follow, at most 256
-- ARGV[13] reports   each: id, token, outcome, result_ms, result, fields, then that many words for the job's hash.
--                    outcome: succeeded, failed, skipped, cancelled; returned = not begun, to its old place, uncounted;
--                    abandoned = begun and not ended, back to its place or interrupted, as its if_lost says
--
-- Returns  ok        now, due (ms until the next due job if this worker holds the alarm, else -1), then a state for
--                    each report ('stale' = the lease was not this worker's), the jobs (each id, attempt, hash), their token
--          no-offer  the worker's offer is not known (any more): register, then repeat under a new number
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   worker, settled (id:state ...), reserved (id ...)
local lane, number, digest = KEYS[2], ARGV[1], ARGV[2]
local worker, offer, lease, want = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local bell, block, listed = ARGV[7], tonumber(ARGV[8]), ARGV[9] == '1'
local keep_ms, keep, count = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local FIRST, HEAD = 13, 6
local token = string.sub(lane, #ns + 6) .. ':' .. number
local running, deadline = ns .. 'running', now + lease

-- How long until the next due job, or -1 if this worker does not hold the alarm for it.
local function alarm(may_take)
  local next = redis.call('ZRANGE', ns .. 'scheduled', 0, 0, 'WITHSCORES')
  if not next[1] or tonumber(next[2]) >= now + block then return -1 end
  local holder = redis.call('GET', ns .. 'alarm')
  if holder ~= worker and (holder or not may_take) then return -1 end
  if may_take then redis.call('SET', ns .. 'alarm', worker, 'PX', block + 1000) end
  return math.max(0, tonumber(next[2]) - now)
end

-- A repeat: the states that were told, and the jobs that are still this request's.
local offered = redis.call('MGET', lane, ns .. 'offer:' .. offer, ns .. 'paused')
local known = lane_reads(offered[1], number, digest)
halted = offered[3] and true or false
if known then
  if known[1] ~= 'ok' then return known end
  local states, jobs = {}, {}
  for state in string.gmatch(known[2], '%S+') do states[#states + 1] = state end
  for id in string.gmatch(known[3], '%S+') do
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token', 'attempt')
    if job[1] == 'running' and job[2] == token then
      jobs[#jobs + 1] = {id, job[3], redis.call('HGETALL', ns .. 'job:' .. id)}
    end
  end
  return {'ok', now, alarm(false), states, jobs, token}
end

-- Look: the offer, and whose leases the reports speak of.
if not offered[2] then
  redis.call('ZREM', running, '')
  return lane_keep(lane, number, digest, {'no-offer'})
end
local reports, out, seen, at = {}, {''}, {}, FIRST
for i = 1, count do
  local id = ARGV[at]
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token', 'seats', 'listeners', 'if_lost')
  if job[1] == 'running' and job[2] == ARGV[at + 1] and not seen[id] then
    seen[id] = true
    reports[i] = {id, job, at}
    out[#out + 1] = id
  end
  at = at + HEAD + tonumber(ARGV[at + 5])
end

-- Settle: ZREM is the first write, so that a full server lets the rest through (it drains).
redis.call('ZREM', running, unpack(out))
if listed then redis.call('ZREM', ns .. 'idle:' .. offer, worker) end
local states, touched = {}, {}
for i = 1, count do
  local report = reports[i]
  if not report then
    states[i] = 'stale'
  else
    local id, job, at = report[1], report[2], report[3]
    local outcome, fields = ARGV[at + 2], tonumber(ARGV[at + 5])
    local more = {unpack(ARGV, at + HEAD, at + HEAD - 1 + fields)}
    if job[3] then free_seats(job[3], 'job:' .. id .. ':' .. job[2]) end
    if outcome == 'abandoned' and job[5] ~= 'rerun' then outcome = 'interrupted' end
    local back, place = outcome == 'returned' or outcome == 'abandoned', nil
    if back then place = redis.call('HMGET', ns .. 'job:' .. id, 'type', 'uses', 'priority', 'attempt', 'cancel') end
    if back and place[5] then back, outcome = false, 'cancelled' end
    if back and not (place[1] and place[3]) then back, outcome = false, 'interrupted' end  -- a damaged record
    if back then
      states[i] = 'ready'
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready', 'attempt', (place[4] or 1) - 1)
      line_up(id, place[1], place[2], place[3])
    else
      states[i], touched[outcome] = outcome, true
      if ARGV[at + 4] ~= '' then
        redis.call('SET', ns .. 'job:' .. id .. ':result', ARGV[at + 4], 'PX', ARGV[at + 3])
        more[#more + 1], more[#more + 2] = 'result_until', string.format('%.0f', now + ARGV[at + 3])
      end
      finish(id, outcome, job[4], more)
    end
  end
end
finish_done()
-- Promotion is common work: a busy worker does it now and then, all others at once.
if listed or bell == '' or number % 4 == 0 then promote(100) end

-- Reserve: the least (priority, id) of all heads whose seats are free, again and again.
local jobs, taken = {}, {}
if not halted and (want > 0 or listed) then jobs, taken = reserve(offer, offered[2], want, worker, token, deadline, listed) end
-- Every eighth turn trims what the eight have added, and more.
if number % 8 == 0 then
  for state in pairs(touched) do trim(state, keep_ms, keep, math.min(1000, 16 * count)) end
end

-- Wait: too little was found. Of all who wait, one holds the alarm for the next due moment.
local due = -1
if bell ~= '' and #jobs < want then
  redis.call('ZADD', ns .. 'idle:' .. offer, want - #jobs, worker)
  if redis.call('HSET', ns .. 'worker:' .. worker, 'bell', bell, 'idle_until', now + block + 1000) == 2 then
    redis.call('PEXPIRE', ns .. 'worker:' .. worker, lease)  -- its presence may have expired; a renewal tells
  end
  due = alarm(true)
elseif listed and redis.call('GET', ns .. 'alarm') == worker then
  redis.call('DEL', ns .. 'alarm')
  ring_anyone()
end
seats_done()
if count > 0 or #taken > 0 then
  local told, at = {}, FIRST
  for i = 1, count do
    told[i] = ARGV[at] .. ':' .. states[i]
    at = at + HEAD + tonumber(ARGV[at + 5])
  end
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'worker', worker, 'settled', table.concat(told, ' '),
    'reserved', table.concat(taken, ' '))
end
lane_keep(lane, number, digest, {'ok', table.concat(states, ' '), table.concat(taken, ' ')})
return {'ok', now, due, states, jobs, token}
