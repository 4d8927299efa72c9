-- gate: pause or resume the namespace or one type (jobs are accepted, none starts), close the namespace (new jobs
-- are refused) and reopen it (Q19), or have it require a tenant of every new job (Q26).
--
-- Needs    _base _lane _bells _lines _seats _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  type      its name, or '' for the namespace
-- ARGV[4]  gate      'paused', 'closed' or 'tenant'
-- ARGV[5]  by        who asks, or '' to lift the gate
-- ARGV[6]  lifter    who asks to lift it
--
-- Returns  ok        'was' if the gate already stood so, else 'now'
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   gate type, paused or closed or tenant, by
local lane, number, digest, type, gate = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local by, lifter = ARGV[5], ARGV[6]
local ACTS = {paused = {'pause', 'resume'}, closed = {'close', 'reopen'}, tenant = {'require a tenant', 'require no tenant'}}

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'about'
if type ~= '' then
  key = ns .. 'type:' .. type
  line_known(type, nil)
end
local own = type == '' and gate == 'paused'  -- a key of its own, which every turn reads
local stood
if own then stood = redis.call('EXISTS', ns .. 'paused') == 1 else stood = redis.call('HEXISTS', key, gate) == 1 end
if by ~= '' then
  if own then redis.call('SET', ns .. 'paused', now .. ' ' .. by) else redis.call('HSET', key, gate, now .. ' ' .. by) end
  if gate == 'paused' then
    -- What it holds back claims no seats.
    if type == '' then look_everywhere() else type_lapses(type) end
    seats_done()
  end
else
  if own then redis.call('DEL', ns .. 'paused') else redis.call('HDEL', key, gate) end
  if type ~= '' then index_type(type) end
  if type == '' then ring_everyone() else ring(type, 1000000) end
end
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'gate', type, gate, by)
if stood ~= (by ~= '') then
  audit(ns .. 'audit', by .. lifter, ACTS[gate][by ~= '' and 1 or 2], type == '' and 'namespace' or 'type ' .. type)
end
return lane_keep(lane, number, digest, {'ok', stood == (by ~= '') and 'was' or 'now'})
