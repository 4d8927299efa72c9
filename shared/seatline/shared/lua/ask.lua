-- ask: tell a live worker to pause, to resume or to stop. Its bell is rung, busy or idle, and its renewal brings the
-- word (C13). A stop is not taken back. Idempotent by nature: unnumbered.
--
-- Needs    _base _bells _audit
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  worker    its id
-- ARGV[2]  word      'pause', 'resume', 'stop' (running jobs may end) or 'stop-now' (they are handed back)
-- ARGV[3]  by        who asks
--
-- Returns  ok        the word
--          state     the word that stands: it was told to stop, and the new one is weaker
--          missing   no live worker of that id
--
-- Events   asked worker, word, by
local worker, word, by = ARGV[1], ARGV[2], ARGV[3]
local key = ns .. 'worker:' .. worker
local FORCE = {resume = 0, pause = 1, stop = 2, ['stop-now'] = 3}

if redis.call('EXISTS', key) == 0 then return {'missing'} end
local stands = redis.call('HGET', key, 'asked') or 'resume'
if FORCE[stands] >= FORCE.stop and FORCE[word] < FORCE[stands] then return {'state', stands} end
redis.call('ZREM', ns .. 'workers', '')  -- a full server lets the rest through: workers can be stopped there too
if word ~= stands then
  if word == 'resume' then
    redis.call('HDEL', key, 'asked', 'asked_by', 'asked_at')
  else
    redis.call('HSET', key, 'asked', word, 'asked_by', by, 'asked_at', now)
  end
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'asked', worker, 'word', word, 'by', by)
  audit(ns .. 'audit', by, word, 'worker ' .. worker)
end
ring_look(worker)
return {'ok', word}
