-- wait: look whether a job has ended; if not, be rung when it does. Looking and registering are one step, so an end
-- cannot fall between. Idempotent by nature.
--
-- Needs    _base
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  id        of the job
-- ARGV[2]  created   what its submission was told, or '' : another value means that the server lost that job
-- ARGV[3]  bell      to be rung at its end
--
-- Returns  ended     now, the job's hash, the stored result or ''
--          waits     state; the bell is registered
--          missing   no such job (or another one under that id)
--
-- Events   none
local id, created, bell = ARGV[1], ARGV[2], ARGV[3]
local key = ns .. 'job:' .. id

local job = redis.call('HMGET', key, 'state', 'created', 'listeners')
if not job[1] or (created ~= '' and job[2] ~= created) then return {'missing'} end
local state, listeners = job[1], job[3] or ''
if state ~= 'ready' and state ~= 'running' and state ~= 'scheduled' then
  return {'ended', now, redis.call('HGETALL', key), redis.call('GET', key .. ':result') or ''}
end
if not string.find(' ' .. listeners .. ' ', ' ' .. bell .. ' ', 1, true) then
  -- Those who gave up stand there too: the oldest goes. If it still waits, it registers again within seconds.
  -- Marks of what waits for its end stay (tell_end).
  if #listeners > 2048 then
    listeners = string.gsub(string.gsub(' ' .. listeners, ' [^>=~%s]%S*', '', 1), '^ ', '')
  end
  redis.call('ZREM', ns .. 'running', '')  -- a full server lets the rest through: who waits for an end, waits on
  redis.call('HSET', key, 'listeners', listeners == '' and bell or (listeners .. ' ' .. bell))
end
return {'waits', state}
