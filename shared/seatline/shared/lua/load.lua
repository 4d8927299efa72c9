-- load: accept the next jobs of a load, all of the call or none, and note in the same step which line that was (Q4).
-- Whoever sends it again, or begins again, is told where the load is: the lines are its numbers, so it needs no lane.
--
-- Needs    _base _bells _lines _seats _finish _withdraw _lacking _accept _supersede _submit
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  name      of the load
-- ARGV[2]  from      the last line before these; 0: they are the first
-- ARGV[3]  before    digest of all lines up to that one
-- ARGV[4]  line      the last of these
-- ARGV[5]  mark      digest of all lines up to that one
-- ARGV[6]  shape     digest of what beside its lines makes its jobs
-- ARGV[7]  rejected  how many of these lines hold no good job
-- ARGV[8]  ended     '1': it was the last line
-- ARGV[9]  by        who loads
-- ARGV[10] life      ms for which the load is remembered from now on
-- ARGV[11] count     jobs that follow, at most 1,000
-- ARGV[12] jobs      each in the words that _accept reads
--
-- Returns  ok        where the load is now: line, mark, shape, jobs, existed, rejected (all so far), what is lacking
--          at        nothing was done, it is elsewhere: the same seven
--          closed tenant seats token duplicate   as submit says it; nothing was done
--
-- Events   submitted first, count
local name, from, before, line, mark, shape = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local rejected, ended, by, life, count, FIRST = ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11]), 12

local key = ns .. 'load:' .. name
local is = redis.call('HMGET', key, 'line', 'mark', 'shape', 'jobs', 'existed', 'rejected')
if (is[1] or '0') ~= from or (is[2] or '') ~= before or (is[3] or shape) ~= shape then
  return {'at', is[1] or 0, is[2] or '', is[3] or '', is[4] or 0, is[5] or 0, is[6] or 0, ''}
end

local last = redis.call('ZREVRANGE', key .. ':ids', 0, 0, 'WITHSCORES')
local first, new, lacking_now = 0, 0, ''
if count > 0 then
  local reply = submitted('', count, FIRST, supersede)
  if reply[1] ~= 'ok' then return reply end
  first, new, lacking_now = tonumber(reply[3]), reply[4], reply[5]
  finish_done()
  seats_done()
end

redis.call('HSET', key, 'line', line, 'mark', mark, 'shape', shape, 'changed', now)
if not is[1] then redis.call('HSET', key, 'started', now, 'by', by) end
redis.call('HDEL', key, 'ended')
if ended == '1' then redis.call('HSET', key, 'ended', now) end
local jobs = redis.call('HINCRBY', key, 'jobs', new)
local existed = redis.call('HINCRBY', key, 'existed', count - new)
local bad = redis.call('HINCRBY', key, 'rejected', rejected)

-- The ids of a call follow each other; so do those of two calls between which nobody else submitted.
if new > 0 then
  local begins = string.format('%016.0f', first)
  if last[1] and tonumber(last[2]) == first - 1 then begins = last[1] end
  redis.call('ZADD', key .. ':ids', string.format('%.0f', first + new - 1), begins)
end
redis.call('PEXPIRE', key, life)
redis.call('PEXPIRE', key .. ':ids', life)
return {'ok', line, mark, shape, jobs, existed, bad, lacking_now}
