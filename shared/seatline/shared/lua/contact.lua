-- contact: the first words on a new connection. A new namespace is founded; a server that runs anew may have lost its
-- last writes, so the sequence jumps ahead of whatever was lost and no id is ever given twice (DESIGN 5.4). When that was
-- is noted, for the report of what became of jobs and orders (W3).
-- Idempotent by comparison.
--
-- Needs    _base
--
-- KEYS[1]  about     the namespace's hash
--
-- ARGV[1]  schema    the key layout this client knows
-- ARGV[2]  run       the server's run id, or '' if this login may not ask: then somebody else notices a new run
-- ARGV[3]  creation  random id for a namespace founded now
--
-- Returns  ok        now, schema, creation, when the server was last seen to run anew (epoch ms) or ''
--          newer     schema: the namespace was written by a newer Seatline
--
-- Events   none
local schema, run, creation = ARGV[1], ARGV[2], ARGV[3]
local about = ns .. 'about'

local v = redis.call('HMGET', about, 'schema', 'creation', 'run', 'restarted')
if not v[1] then
  redis.call('HSET', about, 'schema', schema, 'creation', creation, 'run', run)
  return {'ok', now, schema, creation, ''}
end
if tonumber(v[1]) > tonumber(schema) then return {'newer', v[1]} end
if run ~= '' and v[3] ~= run then
  redis.call('ZREM', ns .. 'running', '')  -- a full server lets the rest through: it drains after a restart too
  redis.call('INCRBY', ns .. 'seq', 1000000)
  redis.call('HINCRBY', about, 'gaps', 1000000)
  if v[3] and v[3] ~= '' then v[4] = now end  -- else nobody knew the run before
  redis.call('HSET', about, 'run', run, unpack(v[4] and {'restarted', v[4]} or {}))
end
return {'ok', now, v[1], v[2], v[4] or ''}
