-- _settle: takes a worker's reports of what ended. A report counts only if its token is the lease's (equality, never
-- order: DESIGN 5.4), and once a call. Needs _base, _bells, _lines, _seats, _finish.

-- Look: the reports from `first` on, each with the job it speaks of if that lease is the reporter's.
local function read_reports(first, count)
  local reports, seen, at = {}, {}, first
  for i = 1, count do
    local id, fields = ARGV[at], tonumber(ARGV[at + 5])
    local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token', 'seats', 'listeners', 'if_lost')
    local mine = job[1] == 'running' and job[2] == ARGV[at + 1] and not seen[id]
    seen[id] = seen[id] or mine
    local report = {id = id, job = mine and job, outcome = ARGV[at + 2], ms = ARGV[at + 3], result = ARGV[at + 4],
      at = at + 6, last = at + 5 + fields}
    reports[i], at = report, report.last + 2
    for _ = 1, tonumber(ARGV[at - 1]) do at = at + 5 + tonumber(ARGV[at]) end
  end
  return reports
end

-- Settle one; returns the state its job is in now, and whether it ended.
local function settle(report)
  local id, job, outcome = report.id, report.job, report.outcome
  if not job then return 'stale' end
  if job[3] then free_seats(job[3], 'job:' .. id .. ':' .. job[2]) end
  if outcome == 'abandoned' and job[5] ~= 'rerun' then outcome = 'interrupted' end
  if outcome == 'returned' or outcome == 'abandoned' then
    local place = redis.call('HMGET', ns .. 'job:' .. id, 'type', 'uses', 'priority', 'attempt', 'cancel')
    if place[5] then
      outcome = 'cancelled'
    elseif not (place[1] and place[3]) then
      outcome = 'interrupted'  -- a damaged record
    else
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready', 'attempt', (place[4] or 1) - 1)
      line_up(id, place[1], place[2], place[3])
      return 'ready'
    end
  end
  local more = {unpack(ARGV, report.at, report.last)}
  if report.result ~= '' then
    redis.call('SET', ns .. 'job:' .. id .. ':result', report.result, 'PX', report.ms)
    more[#more + 1], more[#more + 2] = 'result_until', string.format('%.0f', now + report.ms)
  end
  finish(id, outcome, job[4], more)
  return outcome, true
end
