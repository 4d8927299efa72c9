-- window_set: say when jobs of a type may start (T9), or lift that; a worker sets the next times of a window that has
-- closed. Outside them the type's jobs wait as if it were paused.
--
-- Needs    _base _lane _bells _lines _seats _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  type      its name
-- ARGV[4]  window    as people write it, or '' to lift it
-- ARGV[5]  opens     when it opens next, or has opened (epoch ms)
-- ARGV[6]  closes    when it closes then (epoch ms)
-- ARGV[7]  by        who asks, or '': a worker that looked; then nothing is done unless the window is still that one
--
-- Returns  ok        the window that stood before, or ''
--          changed   it is another one now
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   window type, by
local lane, number, digest, type, window = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local opens, closes, by = ARGV[5], ARGV[6], ARGV[7]

local known = lane_known(lane, number, digest)
if known then return known end
local key, member = ns .. 'type:' .. type, 'window:' .. type
local before = redis.call('HGET', key, 'window') or ''
if by == '' and before ~= window then return lane_keep(lane, number, digest, {'changed'}) end
line_known(type, nil)
if window == '' then
  redis.call('ZREM', ns .. 'schedules', member)
  redis.call('HDEL', key, 'window', 'opens', 'closes')
else
  redis.call('HSET', key, 'window', window, 'opens', opens, 'closes', closes)
  redis.call('ZADD', ns .. 'schedules', tonumber(opens) > now and opens or closes, member)
  alarm_anew({[member] = true}, 'schedules', '(' .. now)
end
if window == '' or (tonumber(opens) <= now and now < tonumber(closes)) then
  index_type(type)
  ring(type, 1000000)
else
  type_lapses(type)  -- what it holds back claims no seats
  seats_done()
end
if by ~= '' then
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'window', type, 'by', by)
  audit(ns .. 'acts', by, window == '' and 'open at any time' or 'set the window', 'type ' .. type, window)
end
return lane_keep(lane, number, digest, {'ok', before})
