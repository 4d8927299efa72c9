-- _audit: what people do to a namespace, kept for longer than events: when, by whom and why, what, to what. In `audit` stands
-- what only an admin may do, in `acts` what a producer or a worker may, so that no login of theirs rewrites the other. The same
-- act again, within a minute of the last, is counted in one entry: a million jobs are cancelled a hundred at a time. Needs _base.
local function audit(key, by, act, on, more, count)
  local times, WITHIN = count or 1, 60000
  local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  local v = newest and newest[2] or {}
  local same = v[2] == by and v[4] == act and (v[6] == on or (v[6] == 'jobs' and count))
  if same and now - tonumber(string.match(newest[1], '^%d+')) < WITHIN then
    redis.call('XDEL', key, newest[1])
    times, on = times + tonumber(v[10]), v[6]
    if on == 'jobs' then more = string.match(v[8], '^%d+') .. string.match(more, '%D.*$') end
  end
  if count and on ~= 'jobs' then more = '' end
  redis.call('XADD', key, 'MAXLEN', '~', 10000, '*', 'by', by, 'act', act, 'on', on, 'more', more or '', 'times', times)
end

-- The same for jobs: their ids in the order in which they were given.
local function audit_jobs(key, by, act, ids, how)
  if not ids[1] then return end
  local from, to = string.match(ids[1], '[1-9]%d*'), string.match(ids[#ids], '[1-9]%d*')
  audit(key, by, act .. (how or ''), ids[2] and 'jobs' or 'job ' .. from, from .. ' to ' .. to, #ids)
end
