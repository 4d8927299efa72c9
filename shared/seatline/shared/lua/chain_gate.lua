-- chain_gate: stop a chain or one of its steps: orders collect in front of it; or start it again (O11). Or have a step
-- skipped: orders pass it without running.
--
-- Needs    _base _lane _bells _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  name      of the chain
-- ARGV[4]  gate      'stop' or 'skip'
-- ARGV[5]  step      its name, or '' for the chain
-- ARGV[6]  by        who asks, or '' to lift the gate
-- ARGV[7]  lifter    who asks to lift it
--
-- Returns  ok        'was' if it stood so already, else 'now'
--          missing   there is no such chain
--          step      it has no such step
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   chain name, stop or skip, step, by
local lane, number, digest, name, gate, step = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local by, lifter = ARGV[6], ARGV[7]
local ACTS = {stop = {'stop', 'start'}, skip = {'skip', 'skip no more'}}

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'chain:' .. name
local version = redis.call('HGET', key, 'version')
if not version then return lane_keep(lane, number, digest, {'missing'}) end
local field = step == '' and 'stopped' or gate .. '.' .. step
-- Orders of an older version may stand in front of a step that is no more.
if step ~= '' and redis.call('HEXISTS', key .. ':' .. version, 'step.' .. step) == 0
  and redis.call('HEXISTS', key, field) == 0 then return lane_keep(lane, number, digest, {'step'}) end
local stood = redis.call('HEXISTS', key, field) == 1
if by ~= '' then redis.call('HSET', key, field, now .. ' ' .. by) else redis.call('HDEL', key, field) end
-- What stood in front of it goes on: workers see to it (chain_admit).
if stood == (gate == 'stop') and (by == '') == (gate == 'stop') then
  if step ~= '' then
    local opening = redis.call('HGET', key, 'opening') or ''
    if not string.find(' ' .. opening .. ' ', ' ' .. step .. ' ', 1, true) then
      redis.call('HSET', key, 'opening', opening == '' and step or opening .. ' ' .. step)
    end
  end
  redis.call('ZADD', ns .. 'schedules', now, 'chain:' .. name)
  ring_anyone()
end
redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'chain', name, gate, step, 'by', by)
if stood ~= (by ~= '') then
  audit(ns .. 'audit', by .. lifter, ACTS[gate][by ~= '' and 1 or 2], 'chain ' .. name .. (step ~= '' and ' step ' .. step or ''))
end
return lane_keep(lane, number, digest, {'ok', stood == (by ~= '') and 'was' or 'now'})
