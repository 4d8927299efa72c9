-- repair: put right what `verify` has found broken (R1). A mend is what it was concluded from, the bases, and what is to be
-- written. It is made if all its bases still hold and no key that it writes holds another kind of value; so whatever goes on
-- meanwhile, nothing is written that is not right at this very moment, and a mend that was made is not made again.
--
-- Needs    _base _lane _audit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  by        who asks
-- ARGV[4]  mends     at most 50, each: how many bases, how many writes, then of each base four words: kind, key (without the
--                    namespace), of what, expected; and of each write four words: kind, key, of what, what. See `read` and
--                    `write`. Of a base is expected: a value behind a '=', '': there is none, '*': there is any, or, of a
--                    key's kind, 'none', a kind, or '!' and a kind: anything else
--
-- Returns  ok        then for each mend 'done', or 'changed': it is not as it was concluded any more
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   repaired count, by
local lane, number, digest, by, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], 4

local known = lane_known(lane, number, digest)
if known then return known end

local function kind_of(key)
  local kind = redis.call('TYPE', ns .. key)
  return kind.ok or kind
end

-- What may be a base, and of which kind its key is then: another kind of value is none.
local of_kind = {text = 'string', field = 'hash', score = 'zset', member = 'set', head = 'zset'}
local read = {
  term = function(key) return redis.call('PTTL', key) >= 0 and '1' end,
  text = function(key) return redis.call('GET', key) end,
  field = function(key, name) return redis.call('HGET', key, name) end,
  score = function(key, member) return redis.call('ZSCORE', key, member) end,
  member = function(key, name) return redis.call('SISMEMBER', key, name) == 1 and name end,
  head = function(key)
    local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    return head[1] and head[1] .. ' ' .. head[2]
  end,
}

-- Whether something can be added to: there is nothing, or a whole number.
local function is_number(kind, key, name)
  local found
  if kind == 'incrby' then found = redis.call('GET', ns .. key) end
  if kind == 'hincrby' then found = redis.call('HGET', ns .. key, name) end
  return not found or string.match(found, '^%-?%d+$')
end

local function holds(what, key, of, expected)
  local kind, need = kind_of(key), of_kind[what]
  if what == 'kind' then
    local other = string.match(expected, '^!(.*)$')
    if other then return kind ~= 'none' and kind ~= other end
    return kind == expected
  end
  local found = (not need or kind == need) and read[what](ns .. key, of)
  if expected == '' or expected == '*' then return (expected == '*') == (found and true or false) end
  local value = string.sub(expected, 2)
  return found == value or (what == 'score' and found and tonumber(found) == tonumber(value))
end

-- What may be written, and of which kind the key must be for that ('': any).
local needs = {zadd = 'zset', lease = 'zset', zrem = 'zset', sadd = 'set', srem = 'set', hset = 'hash', hincrby = 'hash',
  incrby = 'string', set = 'string', del = '', persist = '', term = ''}
local write = {
  zadd = function(given, member, score) redis.call('ZADD', given, score, member) end,
  -- until then whoever works at it has renewed it, or is gone: `what` is the worker
  lease = function(given, member, worker)
    local live = kind_of('workers') == 'zset' and redis.call('ZSCORE', ns .. 'workers', worker)
    redis.call('ZADD', given, string.format('%.0f', math.max(now + 60000, tonumber(live or 0))), member)
  end,
  zrem = function(given, member) redis.call('ZREM', given, member) end,
  sadd = function(given, member) redis.call('SADD', given, member) end,
  srem = function(given, member) redis.call('SREM', given, member) end,
  hset = function(given, name, value) redis.call('HSET', given, name, value) end,
  hincrby = function(given, name, value) redis.call('HINCRBY', given, name, value) end,
  incrby = function(given, _, value) redis.call('INCRBY', given, value) end,
  set = function(given, _, value) redis.call('SET', given, value) end,
  del = function(given) redis.call('DEL', given) end,
  persist = function(given) redis.call('PERSIST', given) end,
  term = function(given, _, ms) redis.call('PEXPIRE', given, ms) end,
}

-- The bases of a mend hold, and its keys can be written to.
local function is_right(at, bases, writes)
  for i = at, at + 4 * (bases - 1), 4 do
    if not holds(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) then return false end
  end
  for i = at + 4 * bases, at + 4 * (bases + writes - 1), 4 do
    local kind, need = kind_of(ARGV[i + 1]), needs[ARGV[i]]
    if need ~= '' and kind ~= 'none' and kind ~= need then return false end
    if not is_number(ARGV[i], ARGV[i + 1], ARGV[i + 2]) then return false end
  end
  return true
end

local reply, at, done = {'ok'}, FIRST, 0
redis.call('DEL', ns .. 'lane:')  -- there is no such key; a full server lets the rest through
while ARGV[at] do
  local bases, writes = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local right = is_right(at + 2, bases, writes)
  for i = at + 2 + 4 * bases, right and at + 1 + 4 * (bases + writes) or 0, 4 do
    write[ARGV[i]](ns .. ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  end
  reply[#reply + 1], done = right and 'done' or 'changed', done + (right and 1 or 0)
  at = at + 2 + 4 * (bases + writes)
end
local function is_stream(key) return kind_of(key) == 'none' or kind_of(key) == 'stream' end
if done > 0 and is_stream('events') then
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'repaired', done, 'by', by)
end
if done > 0 and is_stream('audit') then audit(ns .. 'audit', by, 'repaired', 'namespace', done .. ' broken rules') end
return lane_keep(lane, number, digest, reply)
