-- _accept: takes new jobs from words of ARGV. A job's words: fields, due, token, content, uses, then that many words
-- for its hash, beginning with 'type', TYPE, 'priority', PRIORITY. due: when it is due and, behind a '/', until when
-- it may start; each epoch ms, '+ms' from now, or ''. token: the producer's own or '', then, each behind a blank, =KEY (at
-- most one such job lives, an existing one is told), !KEY (likewise, but it is refused), ~KEY (the newest such job takes the
-- place of one that waits), +KEY (an existing one is told if it still gathers events). Needs _base, _bells, _lines.
local HEAD = #'fdtcu'  -- a job's words before those of its hash
local coming

-- These are due later: due, id, due, id ... alarm_anew(coming, 'scheduled', '-inf') is to follow.
local function come_later(list)
  coming = coming or {}
  for i = 1, #list, 400 do
    redis.call('ZADD', ns .. 'scheduled', unpack(list, i, math.min(i + 399, #list)))
  end
  for i = 2, #list, 2 do coming[list[i]] = true end
end

-- Returns two functions, to look at a job and to take them all. They are made when they are wanted: most turns bring none.
-- `supersede`: ends the waiting job that another takes the place of (_supersede), nil: no job of the call has such a key.
-- `gathering`: returns the job that gathers for a key, or nil; likewise.
local function acceptance(supersede, gathering)
  local starts, existed, newly = {}, {}, {}

  -- The living job that has a key, or nil.
  local function owner_of(key)
    local id = redis.call('GET', ns .. 'unique:' .. key)
    local job = id and redis.call('HMGET', ns .. 'job:' .. id, 'state', 'unique') or {}
    if job[2] == key and (job[1] == 'ready' or job[1] == 'scheduled' or job[1] == 'running') then return id end
  end

  -- The next job, whose words begin at `at`. Returns the id that its token or key stands for ('#k': the k-th of this call;
  -- '': the token has other content; '!id': the key is that job's, which refuses this one): then it is not taken.
  local function look(at)
    local i, token, content = #starts + 1, ARGV[at + 2], ARGV[at + 3]
    starts[i] = at
    if token == '' then return nil end
    local own, keys = string.match(token, '^(%S*) ?(.*)$')
    if own ~= '' then
      local before = redis.call('GET', ns .. 'token:' .. own) or newly[own]
      if before then
        local id, kept = string.match(before, '^(%S+) (%S+)$')
        existed[i] = kept == content and id or ''
        return existed[i]
      end
      newly[own] = '#' .. i .. ' ' .. content
    end
    local how, key = string.match(keys, '([=!+])(%S+)')
    if how then
      local id
      if how == '+' then id = gathering(key) else id = newly['=' .. key] or owner_of(key) end
      newly['=' .. key] = id or '#' .. i
      existed[i] = id and (how == '!' and '!' or '') .. id
    end
    return existed[i]
  end

  -- Write down what a new job's token and keys stand for. Returns the id of the one whose place it takes, or nil.
  local function name_it(token, content, id)
    local own, keys = string.match(token, '^(%S*) ?(.*)$')
    local older = nil
    if own ~= '' then redis.call('SET', ns .. 'token:' .. own, id .. ' ' .. content) end
    for how, key in string.gmatch(keys, '([=!~+])(%S+)') do
      if how == '~' then older = supersede(key, id) end
      redis.call('SET', ns .. ((how == '~' or how == '+') and 'newest:' or 'unique:') .. key, id)
    end
    return older
  end

  -- Of this very call: it stands in no line yet, and is not to.
  local function drop(list, id)
    for k = #list, 2, -2 do
      if list[k] == id then
        table.remove(list, k)
        table.remove(list, k - 1)
      end
    end
  end

  -- A moment of the words as epoch ms, nil for ''.
  local function moment(word)
    if word == '' then return nil end
    if string.sub(word, 1, 1) == '+' then word = now + tonumber(word) end
    return string.format('%.0f', word)
  end

  -- Take those that are new. INCRBY and HSET come first, so a full server
  -- refuses them, unless something was written before. Returns the first number, how many are new, the ids of the new.
  local function accept()
    local new, ids, lines, rings, later, limits = 0, {}, {}, {}, {}, {}
    for i = 1, #starts do
      if not existed[i] then new = new + 1 end
    end
    if new == 0 then return 0, 0, ids end
    local first = redis.call('INCRBY', ns .. 'seq', new) - new + 1
    local next = first
    for i, at in ipairs(starts) do
      if not existed[i] then
        local id = string.format('%016.0f', next)
        local due, token, uses, expires = ARGV[at + 1], ARGV[at + 2], ARGV[at + 4], nil
        local type, priority, last = ARGV[at + 6], ARGV[at + 8], at + HEAD - 1 + tonumber(ARGV[at])
        next, ids[i] = next + 1, id
        if due == '' then
          due = nil
          redis.call('HSET', ns .. 'job:' .. id, 'state', 'ready', 'created', now, unpack(ARGV, at + HEAD, last))
        else
          due, expires = string.match(due, '^([^/]*)/?(.*)$')
          due, expires = moment(due), moment(expires)
          if due and tonumber(due) <= now then due = nil end
          local more = {unpack(ARGV, at + HEAD, last)}
          if due then
            more[#more + 1], more[#more + 2] = 'due', due
            later[#later + 1], later[#later + 2] = due, id
          end
          if expires then
            more[#more + 1], more[#more + 2] = 'expires', expires
            limits[#limits + 1], limits[#limits + 2] = expires, id
          end
          redis.call('HSET', ns .. 'job:' .. id, 'state', due and 'scheduled' or 'ready', 'created', now, unpack(more))
        end
        local older = token ~= '' and name_it(token, ARGV[at + 3], id)
        if older then
          drop(later, older)
          for _, line in pairs(lines) do drop(line, older) end
        end
        local key = line_key(type, uses ~= '' and uses)
        local line = lines[key]
        if not line then
          line = {type = type, uses = uses ~= '' and uses}
          lines[key] = line
          line.indexed, line.spec = line_known(type, line.uses)
        end
        if not due then
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
    for i = 1, #limits, 400 do
      redis.call('ZADD', ns .. 'expiring', unpack(limits, i, math.min(i + 399, #limits)))
    end
    if #later > 0 then come_later(later) end
    for _, type in ipairs(rings) do ring(type, rings[type]) end
    redis.call('XADD', ns .. 'events', 'MAXLEN', '~', 10000, '*', 'submitted', string.format('%.0f', first), 'count', new)
    return first, new, ids
  end

  return look, accept
end
