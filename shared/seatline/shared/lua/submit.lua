-- submit: accept jobs, all of the call or none, in the order given.
--
-- Needs    _base _lane _bells _lines _lacking _accept
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  strict    '1': refuse jobs whose seats could never be had
-- ARGV[4]  count     jobs that follow, at most 1,000
-- ARGV[5]  jobs      each in the words that _accept reads: fields, due, token, content, uses, then that many for its
--                    hash. token: the producer's own or ''; content: digest of the job, kept with the token; uses:
--                    '' = the type's
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

local known = lane_known(lane, number, digest)
if known then return known end
local gates = redis.call('HMGET', ns .. 'about', 'closed', 'tenant')
if gates[1] then return lane_keep(lane, number, digest, {'closed'}) end

-- Look: may they all come in, and which are known by their token?
local look, accept = acceptance()
local before, at = {}, FIRST
for i = 1, count do
  local uses, last = ARGV[at + 4], at + HEAD - 1 + tonumber(ARGV[at])
  if gates[2] and not names_field('tenant', at + HEAD, last) then
    return lane_keep(lane, number, digest, {'tenant', i - 1})
  end
  local lack = lacking(ARGV[at + 6], uses ~= '' and uses or nil)
  if strict == '1' and lack ~= '' then return lane_keep(lane, number, digest, {'seats', i - 1, lack}) end
  before[i] = look(at)
  if before[i] == '' then return lane_keep(lane, number, digest, {'token', i - 1}) end
  at = last + 1
end

-- Write.
local first, new, ids = accept()
alarm_anew(coming, 'scheduled', '-inf')
local reply = {'ok', now, string.format('%.0f', first), new, table.concat(lacks, ' ')}
for i = 1, count do
  local id = before[i]
  if id then
    if string.sub(id, 1, 1) == '#' then id = ids[tonumber(string.sub(id, 2))] end
    reply[#reply + 1], reply[#reply + 2] = i - 1, id
    reply[#reply + 1] = redis.call('HGET', ns .. 'job:' .. id, 'created') or ''
  end
end
return lane_keep(lane, number, digest, reply)
