-- load: accept the next jobs of a load, all of the call or none, and note in the same step which line that was (Q4).
-- Whoever sends it again, or begins again, is told where the load is: the lines are its numbers, so it needs no lane.
--
-- Needs    _base _bells _lines _seats _facts _finish _kept _withdraw _lacking _accept _supersede _submit
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
-- ARGV[12] frames    what jobs have in common; so many, each: number of words, and a job's words but the first and its params
-- ARGV[13] jobs      the frames, then each job: '=frame:pieces' and its params in so many pieces, or all that _accept reads
--
-- Returns  ok        where the load is now: line, mark, shape, jobs, existed, rejected (all so far), what is lacking
--          at        nothing was done, it is elsewhere: the same seven
--          closed tenant seats token duplicate   as submit says it; nothing was done
--
-- Events   submitted first, count
local name, from, before, line, mark, shape = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local rejected, ended, by, life, count = ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local frames, FIRST = tonumber(ARGV[12]), 13

local key = ns .. 'load:' .. name
local is = redis.call('HMGET', key, 'line', 'mark', 'shape', 'jobs', 'existed', 'rejected')
if (is[1] or '0') ~= from or (is[2] or '') ~= before or (is[3] or shape) ~= shape then
  return {'at', is[1] or 0, is[2] or '', is[3] or '', is[4] or 0, is[5] or 0, is[6] or 0, ''}
end

-- Write the jobs out in full, as _accept reads them, in their place. Sent so, they would cost twice as much on the way.
local PARAMS_AT = 8
local framed, forms, full, size, at = {}, {}, {}, 0, FIRST
for i = 0, frames - 1 do
  local words = tonumber(ARGV[at])
  framed[i] = {unpack(ARGV, at + 1, at + words)}
  at = at + words + 1
end
for _ = 1, count do
  local word = ARGV[at]
  local form = forms[word]
  if form == nil then
    local frame, pieces = string.match(word, '^=(%d+):(%d+)$')
    form = frame and {framed[tonumber(frame)], tonumber(pieces)} or false
    forms[word] = form
  end
  if form then
    local frame, pieces = form[1], form[2]
    full[size + 1] = #frame + 2 * pieces - HEAD + 1
    for j = 1, PARAMS_AT do full[size + 1 + j] = frame[j] end
    size = size + 1 + PARAMS_AT
    for j = 1, pieces do
      full[size + 1], full[size + 2] = j == 1 and 'params' or 'params' .. j, ARGV[at + j]
      size = size + 2
    end
    for j = PARAMS_AT + 1, #frame do
      size = size + 1
      full[size] = frame[j]
    end
    at = at + 1 + pieces
  else
    local words = tonumber(word) + HEAD
    for j = 0, words - 1 do full[size + 1 + j] = ARGV[at + j] end
    size, at = size + words, at + words
  end
end
for j = 1, size do ARGV[FIRST + j - 1] = full[j] end

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
