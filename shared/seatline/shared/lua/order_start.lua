-- order_start: start an order of a chain, now or at a moment to come (T1, O9, O10).
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _withdraw _lacking _accept _elements _runs _steps _straight _orders _start
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  replace   '1': one of that id that has no step under way is replaced
-- ARGV[4]  order     its words (see _start)
--
-- Returns  ok        id, number, state, created
--          missing   there is no chain of that name, or its record is damaged
--          exists    state: there is an order of that id
--          running   step: the order of that id cannot be replaced while this step is under way
--          closed    the namespace takes nothing new
--          tenant    the namespace requires a tenant
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   order id, state; the same of those that may enter as it takes another's place
local lane, number, digest, replace, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], 4
local id, chain = ARGV[FIRST + 2], ARGV[FIRST + HEAD + 1]

local known = lane_known(lane, number, digest)
if known then return known end
local gates = redis.call('HMGET', ns .. 'about', 'closed', 'tenant')
if gates[1] then return lane_keep(lane, number, digest, {'closed'}) end
if gates[2] and not names_field('tenant', FIRST + HEAD, #ARGV) then return lane_keep(lane, number, digest, {'tenant'}) end
if not is_chain(chain) then return lane_keep(lane, number, digest, {'missing'}) end
local state = id ~= '' and redis.call('HGET', ns .. 'order:' .. id, 'state')
if state then
  local before = orders().read(id)
  if replace ~= '1' or not before then return lane_keep(lane, number, digest, {'exists', state}) end
  local step = orders().under_way(before)
  if step then return lane_keep(lane, number, digest, {'running', step}) end
  orders().park(before)
  orders().erase(before, 'removed')
end
local o = start_order(FIRST)
orders_done()
seats_done()
return lane_keep(lane, number, digest, {'ok', o.id, o.number, o.state, now})
