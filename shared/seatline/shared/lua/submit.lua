-- submit: accept jobs, all of the call or none, in the order given.
--
-- Needs    _base _lane _bells _lines _lacking
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  strict    '1': refuse jobs whose seats could never be had
-- ARGV[4]  count     jobs that follow, at most 1,000
-- ARGV[5]  jobs      each: fields, due, token, content, uses; then that many words for its hash, beginning with
--                    'type', TYPE, 'priority', PRIORITY. due: epoch ms, '+ms' from now, or ''; token: the producer's
--                    own or ''; content: digest of the job, kept with the token; uses: '' = the type's
--
-- Returns  ok        now, first sequence, new jobs, what is lacking ('pool=need/capacity ...'), then for each job
--                    that existed: index, id, created
--          closed    the namespace takes no new jobs
--          tenant    index: the namespace requires a tenant, that job names none
--          seats     index, what is lacking for that job
--          token     index: that token stands for a job with other content
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   submitted first, count
local lane, number, digest, strict, count = KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local FIRST = 5
local HEAD = #'fdtcu'  -- a job's words before those of its hash

local known = lane_known(lane, number, digest)
if known then return known end
local gates = redis.call('HMGET', ns .. 'about', 'closed', 'tenant')
if gates[1] then return lane_keep(lane, number, digest, {'closed'}) end

-- Look: may they all come in, and which are known by their token?
local starts, existed, mine, at = {}, {}, {}, FIRST
for i = 1, count do
  local token, uses, last = ARGV[at + 2], ARGV[at + 4], at + HEAD - 1 + tonumber(ARGV[at])
  starts[i] = at
  if gates[2] and not names_field('tenant', at + HEAD, last) then
    return lane_keep(lane, number, digest, {'tenant', i - 1})
  end
  local lack = lacking(ARGV[at + 6], uses ~= '' and uses or nil)
  if strict == '1' and lack ~= '' then return lane_keep(lane, number, digest, {'seats', i - 1, lack}) end
  if token ~= '' then
    local before = redis.call('GET', ns .. 'token:' .. token) or mine[token]
    if before then
      local id, content = string.match(before, '^(%S+) (%S+)$')
      if content ~= ARGV[at + 3] then return lane_keep(lane, number, digest, {'token', i - 1}) end
      existed[i] = id
    else
      mine[token] = '#' .. i .. ' ' .. ARGV[at + 3]
    end
  end
  at = last + 1
end

-- Write: HSET and INCRBY come first, so a full server refuses the whole call.
local new = count
for _ in pairs(existed) do new = new - 1 end
local first = new > 0 and redis.call('INCRBY', ns .. 'seq', new) - new + 1 or 0
local next, ids, due_jobs, lines, rings, reply = first, {}, {}, {}, {}, {}
reply = {'ok', now, string.format('%.0f', first), new, table.concat(lacks, ' ')}
for i = 1, count do
  local at = starts[i]
  if existed[i] then
    local id = existed[i]
    if string.sub(id, 1, 1) == '#' then id = ids[tonumber(string.sub(id, 2))] end
    reply[#reply + 1], reply[#reply + 2] = i - 1, id
    reply[#reply + 1] = redis.call('HGET', ns .. 'job:' .. id, 'created') or ''
  else
    local id = string.format('%016.0f', next)
    local due, token, uses = ARGV[at + 1], ARGV[at + 2], ARGV[at + 4]
    local type, priority = ARGV[at + 6], ARGV[at + 8]
    local last = at + HEAD - 1 + tonumber(ARGV[at])
    next, ids[i] = next + 1, id
    if string.sub(due, 1, 1) == '+' then due = string.format('%.0f', now + tonumber(due)) end
    if due ~= '' and tonumber(due) <= now then due = '' end
    if due == '' then
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready', 'created', now, unpack(ARGV, at + HEAD, last))
    else
      redis.call('HSET', ns .. 'job:' .. id, 'state', 'scheduled', 'due', due, 'created', now,
        unpack(ARGV, at + HEAD, last))
      due_jobs[#due_jobs + 1], due_jobs[#due_jobs + 2] = due, id
    end
    if token ~= '' then redis.call('SET', ns .. 'token:' .. token, id .. ' ' .. ARGV[at + 3]) end
    local key = line_key(type, uses ~= '' and uses)
    local line = lines[key]
    if not line then
      line = {type = type, uses = uses ~= '' and uses}
      lines[key] = line
      line.indexed, line.spec = line_known(type, line.uses)
    end
    if due == '' then
      line[#line + 1], line[#line + 2] = priority, id
      if not rings[type] then rings[#rings + 1] = type end
      rings[type] = (rings[type] or 0) + 1
    end
  end
end
for key, line in pairs(lines) do
  for i = 1, #line, 400 do redis.call('ZADD', key, unpack(line, i, math.min(i + 399, #line))) end
  index_head(line.type, line.uses, line.indexed, line.spec)
end
if #due_jobs > 0 then
  for i = 1, #due_jobs, 400 do
    redis.call('ZADD', ns .. 'scheduled', unpack(due_jobs, i, math.min(i + 399, #due_jobs)))
  end
  -- One of these is the next to be due: whoever holds the alarm sets it anew; if nobody does, somebody is to.
  if redis.call('ZRANGE', ns .. 'scheduled', 0, 0)[1] >= string.format('%016.0f', first) then
    local holder = redis.call('GET', ns .. 'alarm')
    local bell = holder and redis.call('HGET', ns .. 'worker:' .. holder, 'bell')
    if bell then ring_bell(bell) else ring_anyone() end
  end
end
for _, type in ipairs(rings) do ring(type, rings[type]) end
if new > 0 then
  redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'submitted', reply[3], 'count', new)
end
return lane_keep(lane, number, digest, reply)
