-- _lacking: seats that jobs ask for and that their pool, as it is, could never give (S5). Needs _base.
local asked, lacks = {}, {}

-- What is lacking for a type's jobs with these uses (nil: the type's): 'pool=need/capacity ...', '-' = no such pool.
local function lacking(type, uses)
  local line = type .. '|' .. (uses or '')
  if asked[line] then return asked[line] end
  local found = {}
  local spec = uses or redis.call('HGET', ns .. 'type:' .. type, 'uses') or 'none'
  for pool, n in string.gmatch(spec, '([^=,]+)=(%d+)') do
    local capacity = redis.call('HGET', ns .. 'pool:' .. pool, 'capacity')
    if not capacity or tonumber(capacity) < tonumber(n) then
      found[#found + 1] = pool .. '=' .. n .. '/' .. (capacity or '-')
    end
  end
  asked[line] = table.concat(found, ' ')
  if #found > 0 then lacks[#lacks + 1] = asked[line] end
  return asked[line]
end

-- Whether the words of a job, from `first` to `last`, name this field.
local function names_field(field, first, last)
  for at = first, last, 2 do
    if ARGV[at] == field then return true end
  end
  return false
end
