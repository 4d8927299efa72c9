-- note: keep what running jobs tell of themselves: progress, and lines for their logs (C17). Fenced: of a lease that was
-- taken back nothing is kept (Q14). It asks for memory: a full server refuses it, and jobs end all the same.
--
-- Needs    _base _lane
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  count     jobs that follow, at most 64
-- ARGV[4]  jobs      each: id, token, fields, then that many words for the job's hash, lines, then that many lines;
--                    at most 1,000 lines a call
--
-- Returns  ok        a word for each job: 'kept', or 'stale' = the lease was not this worker's
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   none
local lane, number, digest, count, FIRST = KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), 4
local LINES_KEPT = 1000
local BITE = 400

local known = lane_known(lane, number, digest)
if known then return known end
local reply, kept, at = {'ok'}, {}, FIRST
for _ = 1, count do
  local id, token, fields = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local start = at + 4 + fields
  local stop = start - 1 + tonumber(ARGV[start - 1])
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'token')
  local mine = job[1] == 'running' and job[2] == token
  reply[#reply + 1] = mine and 'kept' or 'stale'
  if mine then kept[#kept + 1] = {key = ns .. 'job:' .. id, at = at + 3, fields = fields, start = start, stop = stop} end
  at = stop + 1
end
for _, job in ipairs(kept) do
  local log, length = job.key .. ':log', 0
  for i = job.start, job.stop, BITE do
    local lines = {unpack(ARGV, i, math.min(i + BITE - 1, job.stop))}
    for k, line in ipairs(lines) do lines[k] = now .. ' ' .. line end
    length = redis.call('RPUSH', log, unpack(lines))
  end
  if length > LINES_KEPT then
    redis.call('LTRIM', log, -LINES_KEPT, -1)
    redis.call('HINCRBY', job.key, 'log_cut', length - LINES_KEPT)
  end
  if job.fields > 0 then redis.call('HSET', job.key, unpack(ARGV, job.at, job.at + job.fields - 1)) end
end
return lane_keep(lane, number, digest, reply)
