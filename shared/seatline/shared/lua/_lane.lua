-- _lane: makes a writing script safe to repeat (R2). A lane is one client's line of numbered requests, one at a
-- time; its record holds the last number, the digest of that request and the reply. It outlives every resend: the
-- client gives up in less than half of this.
local LANE_LIFE = 900000

-- The reply to give without executing, or nil: the request is new.
local function lane_reads(record, number, digest)
  if not record then
    if tonumber(number) > 1 then return {'forgotten'} end
    return nil
  end
  local last, kept, reply = string.match(record, '^(%d+) (%S+) (.*)$')
  if tonumber(number) > tonumber(last) then return nil end
  if tonumber(number) < tonumber(last) then return {'past'} end
  if kept ~= digest then return {'conflict'} end
  local words = {}
  for word in string.gmatch(reply .. '\n', '(.-)\n') do words[#words + 1] = word end
  return words
end

local function lane_known(lane, number, digest)
  return lane_reads(redis.call('GET', lane), number, digest)
end

-- Keep the reply (a list of texts without line ends) and return it.
local function lane_keep(lane, number, digest, reply)
  for i = 1, #reply do reply[i] = tostring(reply[i]) end
  redis.call('SET', lane, number .. ' ' .. digest .. ' ' .. table.concat(reply, '\n'), 'PX', LANE_LIFE)
  return reply
end
