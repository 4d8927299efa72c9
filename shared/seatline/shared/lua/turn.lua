-- turn: a worker's whole exchange in one round trip: settle what it finished, then reserve the best jobs it can see
-- for its free slots, with their seats. A worker that finds too little is registered idle in the same step, so no
-- wake-up falls between.
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _kept _withdraw _accept _supersede _elements _runs _steps _straight _orders _promote _reserve _settle _idle
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
-- ARGV[10] keep_ms   age at which finished jobs are trimmed, where nobody has said otherwise (see keep)
-- ARGV[11] keep      finished jobs kept of each state, likewise
-- ARGV[12] count     reports that follow, at most 256
-- ARGV[13] reports   each: id, token, outcome, ms, result (kept for ms; -1: by its order), fields, then that many words for the job's
--                    hash; jobs, then that many jobs in the words that submit takes, accepted if it succeeded or was
--                    skipped; an event has event, not type, first. outcome: succeeded, failed, skipped, cancelled, interrupted; retry = failed, runs again
--                    in ms, result is the text for its attempts; returned = not begun, to its old place, uncounted;
--                    abandoned = begun and not ended, back to its place or interrupted, as its if_lost says
--
-- Returns  ok        now, due (ms until the next due job if this worker holds the alarm, 0 if it did not see all that it
--                    might have, else -1), then a state for each report ('stale' = the lease was not this worker's), the jobs (each id, attempt, hash), their token,
--                    the names of what is planned and due (see promote)
--          no-offer  the worker's offer is not known (any more): register, then repeat under a new number
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   worker, settled (id:state ...), reserved (id ...); expired id; submitted first, count
local lane, number, digest = KEYS[2], ARGV[1], ARGV[2]
local worker, offer, lease, want = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local bell, block, listed = ARGV[7], tonumber(ARGV[8]), ARGV[9] == '1'
local keep_ms, keep, count = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local FIRST = 13
local token = string.sub(lane, #ns + 6) .. ':' .. number

-- A repeat: the states that were told, and the jobs that are still this request's.
local offered = redis.call('MGET', lane, ns .. 'offer:' .. offer, ns .. 'paused', ns .. 'keep')
local known = lane_reads(offered[1], number, digest)
halted, kept_text = offered[3] and true or false, offered[4] or ''
if known then
  if known[1] ~= 'ok' then return known end
  local states = {}
  for state in string.gmatch(known[2], '%S+') do states[#states + 1] = state end
  return {'ok', now, alarm(worker, block, false), states, reserved_before(known[3], token), token, {}}
end

-- Settle: ZREM is the first write, so that a full server lets the rest through (it drains). Jobs come with a good end,
-- which stands even if a token says no to one of them.
local reports, steps, out, look, accept, refused = {}, 0, {''}, nil, nil, {}
if offered[2] then reports, steps = read_reports(FIRST, count) end
for _, report in ipairs(reports) do
  if report.job then out[#out + 1] = report.id end
  if report.starts and report.job and (report.outcome == 'succeeded' or report.outcome == 'skipped') then
    if not accept then
      redis.call('GET', ns .. 'seq')  -- if it is something else, that is known before anything is written
      look, accept = acceptance(supersede)
    end
    for _, at in ipairs(report.starts) do
      if not string.find(look(at) or '0', '^[%d#]') then refused[#refused + 1] = {report.id, at} end
    end
  end
end
redis.call('ZREM', ns .. 'running', unpack(out))
if not offered[2] then return lane_keep(lane, number, digest, {'no-offer'}) end
if listed then redis.call('ZREM', ns .. 'idle:' .. offer, worker) end
if steps > 0 then orders().take_numbers(steps) end
local states, told, touched = {}, {}, {}
for i, report in ipairs(reports) do
  local state, ended = settle(report)
  states[i], told[i] = state, report.id .. ':' .. state
  if ended then touched[state] = true end
end
if the_orders then the_orders.line_up_made() end
if accept then accept() end
for _, job in ipairs(refused) do
  note(job[1], 'enqueued no ' .. ARGV[job[2] + 6] .. ': token ' .. ARGV[job[2] + 2] .. ' stands for another job')
end
-- Promotion is common work: a busy worker does it now and then, all others at once.
if listed or number % 16 == 0 then expire(100) end
local planned = (listed or bell == '' or number % 4 == 0) and promote(100) or {}

-- Reserve: the least (priority, id) of all heads whose seats are free, again and again.
local jobs, taken, again, due = {}, {}, false, -1
if not halted and (want > 0 or listed) then
  jobs, taken, again = reserve(offer, offered[2], want, worker, token, now + lease, listed)
end
finish_done()
-- Every eighth turn trims what the eight have added, and more.
if number % 8 == 0 then
  for state in pairs(touched) do retention().trim(state, keep_ms, keep, math.min(1000, 16 * count)) end
end
-- Wait: too little was found.
if bell ~= '' and #jobs < want then
  due = rest(worker, offer, want - #jobs, bell, block, lease)
elseif listed then
  pass_alarm(worker)
end
if the_orders then
  the_orders.line_up_made()
  the_orders.trim(keep_ms, keep, 0)
end
if due < 0 then alarm_anew(coming, 'scheduled', '-inf') end
if again then due = 0 end
seats_done()
if count > 0 or #taken > 0 then
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'worker', worker, 'settled', table.concat(told, ' '),
    'reserved', table.concat(taken, ' '))
end
for i = 2, #(ended.expired or {}), 2 do
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'expired', ended.expired[i])
end
lane_keep(lane, number, digest, {'ok', table.concat(states, ' '), table.concat(taken, ' ')})
for _, name in ipairs(the_facts and the_facts.told or {}) do planned[#planned + 1] = name end
return {'ok', now, due, states, jobs, token, planned}
