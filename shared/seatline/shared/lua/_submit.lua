-- _submit: accepts jobs, all of a call or none: what submit and its like do. Needs _base, _lacking, _accept.

-- Returns the reply. `first`: where the words of the jobs begin in ARGV.
local function submitted(strict, count, first, supersede, gathering)
  local gates = redis.call('HMGET', ns .. 'about', 'closed', 'tenant')
  if gates[1] then return {'closed'} end

  -- Look: may they all come in, and which are known by their token or key?
  local look, accept = acceptance(supersede, gathering)
  local before, at = {}, first
  for i = 1, count do
    local uses, last = ARGV[at + 4], at + HEAD - 1 + tonumber(ARGV[at])
    if gates[2] and not names_field('tenant', at + HEAD, last) then return {'tenant', i - 1} end
    local lack = lacking(ARGV[at + 6], uses ~= '' and uses or nil)
    if strict == '1' and lack ~= '' then return {'seats', i - 1, lack} end
    before[i] = look(at)
    if before[i] == '' then return {'token', i - 1} end
    if before[i] and string.sub(before[i], 1, 1) == '!' then return {'duplicate', i - 1, string.sub(before[i], 2)} end
    at = last + 1
  end

  -- Write.
  local start, new, ids = accept()
  alarm_anew(coming, 'scheduled', '-inf')
  local reply = {'ok', now, string.format('%.0f', start), new, table.concat(lacks, ' ')}
  for i = 1, count do
    local id = before[i]
    if id then
      if string.sub(id, 1, 1) == '#' then id = ids[tonumber(string.sub(id, 2))] end
      reply[#reply + 1], reply[#reply + 2] = i - 1, id
      reply[#reply + 1] = redis.call('HGET', ns .. 'job:' .. id, 'created') or ''
    end
  end
  return reply
end
