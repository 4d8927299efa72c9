-- _supersede: a newer job takes the place of a waiting one that has the same key; one that runs is left to its end. Needs
-- _base, _bells, _lines, _seats, _finish, _withdraw.
-- Returns the id of the older one, if it has ended so.
local function supersede(key, newer)
  local id = redis.call('GET', ns .. 'newest:' .. key)
  if not id then return end
  local job = redis.call('HMGET', ns .. 'job:' .. id, 'state', 'type', 'uses', 'listeners', 'supersede')
  if (job[1] ~= 'ready' and job[1] ~= 'scheduled') or not job[2] or job[5] ~= key then return end
  leave_place(id, job[1], job[2], job[3])
  finish(id, 'skipped', job[4], {'reason', 'superseded by job ' .. tonumber(newer)})
  return id
end
