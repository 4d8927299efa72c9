-- gather: as emit, for a trigger that coalesces: each of its jobs waits for a while, and what events of the same key come
-- meanwhile are added to its list. One that was reserved takes no more, so that an event is in one job: the next begins.
--
-- Needs    _base _lane _bells _lines _lacking _accept _cause _submit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  event     its name
-- ARGV[4]  version   of its trigger, as it was read
-- ARGV[5]  strict    '1': refuse jobs whose seats could never be had
-- ARGV[6]  cause     as for emit
-- ARGV[7]  facts     as for emit
-- ARGV[8]  depth     how many triggers lie before these jobs, this one included; 0: that is not counted
-- ARGV[9]  most      events in one job
-- ARGV[10] full      bytes of them in one job
-- ARGV[11] bytes     of these events
-- ARGV[12] events    how many come behind the jobs, at most 1,000
-- ARGV[13] count     jobs that follow, one for each of the trigger's
-- ARGV[14] jobs      each in the words that _accept reads, with the key '+KEY' that it gathers for; then the events,
--                    packed as params are
--
-- Returns  ok        as submit says it: now, first sequence, new jobs, what is lacking, those that were there
--          changed   as emit says it
--          closed tenant seats token duplicate   as submit says it; nothing was done
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   submitted first, count
local lane, number, digest, event, version, strict = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local cause, facts, depth = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local most, full, bytes = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local events, count, FIRST = tonumber(ARGV[12]), tonumber(ARGV[13]), 14

local known = lane_known(lane, number, digest)
if known then return known end
if not is_as_read(event, version, cause) then return lane_keep(lane, number, digest, {'changed'}) end

-- The job that waits for more events of a key, if it has never been reserved and there is room in it for these.
local function gathering(key)
  local id = redis.call('GET', ns .. 'newest:' .. key)
  if not id then return nil end
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'gathers', 'started', 'gathered', 'gathered_bytes')
  local held = tonumber(job[4] or 0)
  if (job[1] ~= 'scheduled' and job[1] ~= 'ready') or job[2] ~= key or job[3] then return nil end
  if held + events > most or tonumber(job[5] or 0) + bytes > full then return nil end
  if redis.call('LLEN', ns .. 'job:' .. id .. ':events') == held then return id end
end

local reply = submitted(strict, count, FIRST, nil, gathering)
if reply[1] == 'ok' then
  local ids, new, at = {}, tonumber(reply[3]), FIRST
  for i = 6, #reply, 3 do ids[reply[i] + 1] = reply[i + 1] end
  for _ = 1, count do at = at + HEAD + tonumber(ARGV[at]) end
  for i = 1, count do
    local key = ns .. 'job:' .. (ids[i] or string.format('%016.0f', new))
    if not ids[i] then new = new + 1 end
    for from = at, #ARGV, 400 do
      redis.call('RPUSH', key .. ':events', unpack(ARGV, from, math.min(from + 399, #ARGV)))
    end
    redis.call('HINCRBY', key, 'gathered', events)
    redis.call('HINCRBY', key, 'gathered_bytes', bytes)
    if depth > tonumber(redis.call('HGET', key, 'depth') or 0) then redis.call('HSET', key, 'depth', depth) end
  end
end
if facts > 0 then take_facts(event, facts, reply[1] == 'ok', count) end
return lane_keep(lane, number, digest, reply)
