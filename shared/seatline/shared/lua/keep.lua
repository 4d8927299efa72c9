-- keep: say how long and how many ended jobs of a state, or of a type in it, are kept, or lift that. Workers trim by it: within a
-- turn in eight of theirs, and with each renewal.
--
-- Needs    _base _lane _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  state     an end: succeeded, skipped, failed, cancelled, expired, interrupted
-- ARGV[4]  type      its name, or '' for all that have no rule of their own
-- ARGV[5]  rule      <ms>/<count>: older ones, and more, are trimmed; '' lifts it
-- ARGV[6]  by        who asks
--
-- Returns  ok        the rule that stood before, or ''
--          many      256 rules are there already
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   keep state, type, rule, by
local lane, number, digest, state, type, rule, by = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local RULES_MOST = 256

local known = lane_known(lane, number, digest)
if known then return known end
local name, before, rules = type == '' and state or state .. '|' .. type, '', {}
for other, said in string.gmatch(redis.call('GET', ns .. 'keep') or '', '(%S+)=(%S+)') do
  if other == name then before = said else rules[#rules + 1] = other .. '=' .. said end
end
if rule ~= '' then rules[#rules + 1] = name .. '=' .. rule end
if #rules > RULES_MOST then return lane_keep(lane, number, digest, {'many'}) end
if before ~= rule then
  -- What was passed over is looked at anew; a list that has no rule is no list any more.
  redis.call('HDEL', ns .. 'about', 'passed.' .. state)
  if rule == '' and type ~= '' then redis.call('UNLINK', ns .. 'finished:' .. name) end
  if #rules == 0 then
    redis.call('DEL', ns .. 'keep')
  else
    redis.call('SET', ns .. 'keep', ' ' .. table.concat(rules, '  ') .. ' ')
  end
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'keep', state, 'type', type, 'rule', rule, 'by', by)
  audit(ns .. 'audit', by, 'keep', state .. ' jobs' .. (type ~= '' and ' of type ' .. type or ''), rule)
end
return lane_keep(lane, number, digest, {'ok', before})
