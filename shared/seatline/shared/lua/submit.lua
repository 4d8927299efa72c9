-- submit: accept jobs, all of the call or none, in the order given.
--
-- Needs    _base _lane _bells _lines _lacking _accept _submit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  strict    '1': refuse jobs whose seats could never be had; 'check': look at the words first, which another
--                    language wrote (docs/protocol.md); 'check1': both
-- ARGV[4]  count     jobs that follow, at most 1,000
-- ARGV[5]  jobs      each in the words that _accept reads: fields, due, token (and keys, but none that supersedes),
--                    content, uses, then that many for its hash. content: digest of the job, kept with the token;
--                    uses: '' = the type's
--
-- Returns  ok        now, first sequence, new jobs, what is lacking ('pool=need/capacity ...'), then for each job
--                    that existed: index, id, created
--          closed    the namespace takes no new jobs
--          tenant    index: the namespace requires a tenant, that job names none
--          seats     index, what is lacking for that job
--          token     index: that token stands for a job with other content
--          duplicate  index, id: that job has its key, and it is to be refused then
--          words     index, name: that word of that job is not as it is to be
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   submitted first, count
local lane, number, digest, strict, count, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), 5

local known = lane_known(lane, number, digest)
if known then return known end

-- A producer of ours has checked them. Wrong ones would fail the call half-way, or make a job that nobody finds.
if string.find(strict, 'check', 1, true) then
  local allowed = ' type priority params uses tenant title tags result_ttl submission unique listeners '

  local function named(text) return #text <= 128 and string.find(text, '^%w[%w._-]*$') end

  local function moment(text) return #text <= 16 and text ~= '+' and string.find(text, '^%+?%d*$') end

  local function whole(text) return #text <= 16 and string.find(text, '^[1-9]%d*$') and tonumber(text) < 2 ^ 53 end

  local function seats(uses)
    for pair in string.gmatch(uses .. ',', '(.-),') do
      local pool, n = string.match(pair, '^(.-)=(%d+)$')
      if not pool or not named(pool) or not whole(n) then return false end
    end
    return true
  end

  -- The first wrong word of the job whose words begin at `at`, and how many there are for its hash.
  local function misread(at)
    local due, token, content, uses = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local fields = tonumber(string.match(ARGV[at] or '', '^%d+$') or 0)
    if fields < 6 or fields % 2 == 1 or not ARGV[at + HEAD - 1 + fields] then return 'fields' end
    local v = {}
    for i = at + HEAD, at + HEAD + fields - 2, 2 do
      local name = ARGV[i]
      local known_name = string.find(name, '^[%l_]+$') and string.find(allowed, ' ' .. name .. ' ', 1, true)
      local good = known_name or string.find(name, '^params%d+$')
      if v[name] or not good then return 'fields' end
      v[name] = ARGV[i + 1]
    end
    if ARGV[at + HEAD] ~= 'type' or not named(v.type) then return 'type' end
    if ARGV[at + HEAD + 2] ~= 'priority' or not whole(v.priority) then return 'priority' end
    if (v.params or '') == '' then return 'params' end
    local from, to = string.match(due, '^([^/]*)/?([^/]*)$')
    if not from or not moment(from) or not moment(to) then return 'due' end
    if uses ~= (v.uses or '') or (uses ~= '' and uses ~= 'none' and not seats(uses)) then return 'uses' end
    local own, how, key = string.match(token, '^(%S*) ?([=!]?)(%S*)$')
    if not own or own ~= (v.submission or '') or (own ~= '' and not named(own)) then return 'token' end
    if own ~= '' and not string.find(content, '^%S+$') then return 'content' end
    if how == '' and (key ~= '' or v.unique or v.listeners) then return 'token' end
    if how ~= '' and (not named(key) or v.unique ~= key or v.listeners ~= '=' .. key) then return 'token' end
    if v.tenant and not named(v.tenant) then return 'tenant' end
    if v.result_ttl and not whole(v.result_ttl) then return 'result_ttl' end
    if string.find((v.title or '') .. (v.tags or ''), '%c') then return 'title' end
    return nil, fields
  end

  local at = FIRST
  for i = 1, count or 1 do
    local wrong, fields = misread(at)
    if wrong then return {'words', string.format('%d', i - 1), wrong} end
    at = at + HEAD + fields
  end
  if not count or count < 1 or count > 1000 or ARGV[at] then return {'words', '0', 'count'} end
end

return lane_keep(lane, number, digest, submitted(string.match(strict, '1?$'), count, FIRST, nil))
