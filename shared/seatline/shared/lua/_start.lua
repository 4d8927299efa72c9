-- _start: starts orders. An order's words in ARGV are those of a job (see _accept), with 'chain', NAME where that has its
-- type, and its own id, or '', for a token. Needs _base, _orders.

-- Whether there is such a chain, and what its newest version does.
local function is_chain(name)
  local version = redis.call('HGET', ns .. 'chain:' .. name, 'version')
  return version and redis.call('HEXISTS', ns .. 'chain:' .. name .. ':' .. version, 'first') == 1
end

-- Start the order whose words begin at `at`; its chain exists, and no other order has its id. Returns the order.
local function start_order(at)
  local number, key, data, words = string.format('%016.0f', redis.call('INCRBY', ns .. 'seq', 1)), nil, {}, {}
  local id, due = ARGV[at + 2], string.match(ARGV[at + 1], '^[^/]*')
  if id == '' then id = number end
  key = ns .. 'order:' .. id
  for i = at + HEAD, at + HEAD - 2 + tonumber(ARGV[at]), 2 do
    local into = string.find(ARGV[i], '^params%d*$') and data or words
    into[#into + 1], into[#into + 2] = ARGV[i], ARGV[i + 1]
    if ARGV[i] == 'listeners' then words[#words + 1], words[#words + 2] = 'odd', 1 end
  end
  local chain = ARGV[at + HEAD + 1]
  local version = redis.call('HGET', ns .. 'chain:' .. chain, 'version')
  local plan = ns .. 'chain:' .. chain .. ':' .. version
  if string.sub(due, 1, 1) == '+' then due = string.format('%.0f', now + tonumber(due)) end
  local waits = due ~= '' and tonumber(due) > now
  redis.call('HSET', key, 'number', number, 'version', version, 'state', waits and 'scheduled' or 'waiting', 'created', now,
    unpack(words))
  redis.call('HSET', key .. ':data', unpack(data))
  redis.call('HINCRBY', plan, 'orders', 1)
  redis.call('ZADD', ns .. 'orders:' .. (waits and 'scheduled' or 'waiting'), number, id)
  local self = orders()
  local o = self.read(id)
  if waits then self.put(o, 'due', due) end
  for _, step in ipairs((self.listed(redis.call('HGET', plan, 'first')))) do self.place(o, step, 'held') end
  if waits then
    self.go(o)
    self.save(o)
  else
    self.line_up_order(o)
  end
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'order', id, 'state', o.state)
  return o
end

-- Whether the run of a schedule, a job or an order, has yet to end.
local function is_alive(state)
  return state == 'ready' or state == 'scheduled' or state == 'running' or state == 'waiting' or state == 'suspended'
end
