-- emit: accept the jobs of a trigger for some events, all of them or none (Q20), if it still is as it was read.
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _kept _withdraw _lacking _accept _cause _supersede _submit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  event     its name
-- ARGV[4]  version   of its trigger, as it was read
-- ARGV[5]  strict    '1': refuse jobs whose seats could never be had
-- ARGV[6]  cause     '', or, of facts that wait for it, how many of them had been taken when they were read
-- ARGV[7]  facts     so many of these it is for: they wait no more
-- ARGV[8]  count     jobs that follow, at most 1,000
-- ARGV[9]  jobs      each in the words that _accept reads
--
-- Returns  ok        as submit says it: now, first sequence, new jobs, what is lacking, those that existed
--          changed   the trigger has another version now, or is gone, or others have taken the facts: read it again
--          closed tenant seats token duplicate   as submit says it; nothing was done
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   submitted first, count
local lane, number, digest, event, version = KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local strict, cause, facts, count, FIRST = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), 9

local known = lane_known(lane, number, digest)
if known then return known end
if not is_as_read(event, version, cause) then return lane_keep(lane, number, digest, {'changed'}) end
local reply = submitted(strict, count, FIRST, supersede)
if facts > 0 then take_facts(event, facts, reply[1] == 'ok', count) end
finish_done()
seats_done()
return lane_keep(lane, number, digest, reply)
