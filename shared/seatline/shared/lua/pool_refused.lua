-- pool_refused: the real licence server refused a seat of a pool, so nobody new gets in for a while (C16). While that
-- lasts, further refusals change nothing; one that follows soon after it lasts twice as long.
--
-- Needs    _base _lane _bells _seats
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  pool      its name
-- ARGV[4]  least_ms  how long a refusal lasts
-- ARGV[5]  most_ms   how long one lasts at most, however many went before
-- ARGV[6]  by        who was refused
--
-- Returns  ok        until when (epoch ms)
--          missing   no such pool
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   pool name, refused by
local lane, number, digest, name = KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local least_ms, most_ms, by = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

local known = lane_known(lane, number, digest)
if known then return known end
local key = ns .. 'pool:' .. name
local capacity, last = redis.call('HGET', key, 'capacity'), redis.call('GET', key .. ':refused')
if not capacity then return lane_keep(lane, number, digest, {'missing'}) end
local till, length = string.match(last or '0 0 ', '^(%d+) (%d+) ')
till, length = tonumber(till or 0), tonumber(length or 0)
if till <= now then
  local again = now - till < length
  length = again and math.max(least_ms, math.min(2 * length, most_ms)) or least_ms
  till = now + length
  redis.call('ZREM', key .. ':waiting', '')  -- a full server lets the rest through: it drains, and is not asked in vain
  -- Not in the pool's hash: who may say this may not change its capacity (Q18). It is remembered for as long again.
  redis.call('SET', key .. ':refused', string.format('%.0f %.0f ', till, length) .. by, 'PX', 2 * length)
  look_everywhere()  -- whoever waits for this pool claims nothing, here or elsewhere
  seats_done()
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'pool', name, 'refused', by)
end
return lane_keep(lane, number, digest, {'ok', string.format('%.0f', till)})
