-- _settle: takes a worker's reports of what ended. A report counts only if its token is the lease's (equality, never
-- order: DESIGN 5.4), and once a call. A step's end moves its order on (O2). Needs _base, _bells, _lines, _seats,
-- _finish, _withdraw, _accept, _orders.

-- Look: the reports from `first` on, each with the job it speaks of if that lease is the reporter's; and how many of
-- these are steps.
local function read_reports(first, count)
  local reports, seen, at, steps = {}, {}, first, 0
  for i = 1, count do
    local id, fields = ARGV[at], tonumber(ARGV[at + 5])
    local is_step = ARGV[at + 3] == '-1'
    local job = is_step and orders().run_of(id)
      or redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token', 'seats', 'listeners', 'if_lost', 'order')
    local mine = job[1] == 'running' and job[2] == ARGV[at + 1] and not seen[id]
    seen[id] = seen[id] or mine
    if mine and job[6] then steps = steps + 1 end
    local report = {id = id, job = mine and job, is_step = is_step, outcome = ARGV[at + 2], ms = ARGV[at + 3], result = ARGV[at + 4],
      at = at + 6, last = at + 5 + fields}
    reports[i], at = report, report.last + 2
    local jobs = ARGV[at - 1]
    if jobs ~= '0' then
      for _ = 1, tonumber(jobs) do
        local kind = ARGV[at + HEAD] == 'event' and 'emits' or 'starts'
        report[kind] = report[kind] or {}
        report[kind][#report[kind] + 1], at = at, at + HEAD + tonumber(ARGV[at])
      end
    end
  end
  return reports, steps
end

-- A job that is to run again: at its old place, uncounted, or after its delay. Returns the state in which it waits, or
-- nil and the one in which it ends instead.
local function run_again(report)
  local id, key = report.id, ns .. 'job:' .. report.id
  local job = redis.call('HMGET', key, 'type', 'uses', 'priority', 'attempt', 'cancel', 'expires', 'worker', 'started')
  if job[5] then return nil, 'cancelled' end
  if report.outcome ~= 'retry' then
    if not (job[1] and job[3]) then return nil, 'interrupted' end  -- a damaged record
    redis.call('HSET', key, 'state', 'ready', 'attempt', (job[4] or 1) - 1)
    line_up(id, job[1], job[2], job[3], job[6])
    note_run(id, job[4], job[7], job[8], report.outcome == 'returned' and 'handed back, not begun' or 'handed back')
    return 'ready'
  end
  if not (job[1] and job[3]) then return nil, 'failed' end
  local due = now + tonumber(report.ms)
  if job[6] and due > tonumber(job[6]) then
    note(id, 'not run again: the next attempt would begin after the moment until which it may start')
    return nil, 'failed'
  end
  local told = string.gsub(report.result, ': ', ' from ' .. (job[8] or now) .. ': ', 1)
  redis.call('RPUSH', key .. ':attempts', now .. ' ' .. told)
  redis.call('LTRIM', key .. ':attempts', -20, -1)
  if due <= now then
    redis.call('HSET', key, 'state', 'ready', unpack(ARGV, report.at, report.last))
    line_up(id, job[1], job[2], job[3], job[6])
    return 'ready'
  end
  if job[6] then redis.call('ZADD', ns .. 'expiring', job[6], id) end
  due = string.format('%.0f', due)
  redis.call('HSET', key, 'state', 'scheduled', 'due', due, unpack(ARGV, report.at, report.last))
  come_later({due, id})
  return 'scheduled'
end

-- Its handler has emitted events: those that something is triggered by wait for a worker, with the end of the job.
local function emit_events(id, emits)
  local depth = redis.call('HGET', ns .. 'job:' .. id, 'depth')
  for _, at in ipairs(emits) do
    local event, names, values = ARGV[at + HEAD + 1], {'job'}, {id}
    for k = at + HEAD + 2, at + HEAD - 2 + tonumber(ARGV[at]), 2 do
      names[#names + 1], values[#values + 1] = ARGV[k], ARGV[k + 1]
    end
    if facts().is_triggered(event) then facts().happened(event, depth, names, values, id) end
  end
end

-- Settle one; returns the state its job is in now, and whether it ended.
local function settle(report)
  local id, job, outcome = report.id, report.job, report.outcome
  if not job then return 'stale' end
  if job[3] then free_seats(job[3], 'job:' .. id .. ':' .. job[2]) end
  if outcome == 'abandoned' and job[5] ~= 'rerun' then outcome = 'interrupted' end
  if outcome == 'returned' or outcome == 'abandoned' or outcome == 'retry' then
    local waits, ends = run_again(report)
    if waits then
      if job[6] then
        local kind, why = string.match(report.result, '^[^\n]*: ([^\n]*)\n  ([^\n]*)')
        orders().told(id, job[6], outcome == 'retry' and 'failed, to run again' .. (kind and ': ' .. kind .. ': ' .. why or ''))
      end
      return waits
    end
    outcome, report.result = ends, ''
  end
  local more = nil
  if report.last >= report.at or report.result ~= '' then more = {unpack(ARGV, report.at, report.last)} end
  if report.result ~= '' and not job[6] and tonumber(report.ms) > 0 then
    redis.call('SET', ns .. 'job:' .. id .. ':result', report.result, 'PX', report.ms)
    more[#more + 1], more[#more + 2] = 'result_until', string.format('%.0f', now + report.ms)
  end
  finish(id, outcome, job[4], more)
  if report.emits and (outcome == 'succeeded' or outcome == 'skipped') then emit_events(id, report.emits) end
  if job[6] then
    local said = {}  -- what the report says besides
    for i = report.at, report.last - 1, 2 do said[ARGV[i]] = ARGV[i + 1] end
    orders().ended(id, job[6], outcome, report.result, said, report.is_step and job)
  end
  return outcome, true
end
