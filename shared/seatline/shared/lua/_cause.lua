-- _cause: facts that wait for a trigger, of which an emission makes jobs. How many were taken since the trigger was set
-- stands in its hash: who has read another number has read other facts (Q20). Needs _base.
local PUT_OFF = 60000

-- Whether a trigger is as it was read and, if `cause` is not '', none of its facts were taken since.
local function is_as_read(event, version, cause)
  local is = redis.call('HMGET', ns .. 'trigger:' .. event, 'version', 'taken')
  return is[1] == version and (cause == '' or (is[2] or '0') == cause)
end

-- The jobs of the first facts were accepted (none: `jobs` is 0, nobody can make them), so these are done with; or they were
-- refused, so they are tried again in a minute.
local function take_facts(event, facts, accepted, jobs)
  local waits, member, trigger = ns .. 'happened:' .. event, 'event:' .. event, ns .. 'trigger:' .. event
  if not accepted then
    redis.call('ZADD', ns .. 'schedules', 'XX', now + PUT_OFF, member)
    return
  end
  redis.call('LTRIM', waits, facts, -1)
  redis.call('HINCRBY', trigger, 'taken', facts)
  if jobs == 0 then redis.call('HINCRBY', trigger, 'missed', facts) end
  if redis.call('EXISTS', waits) == 0 then redis.call('ZREM', ns .. 'schedules', member) end
end
