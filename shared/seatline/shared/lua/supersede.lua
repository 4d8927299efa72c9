-- supersede: as submit, for jobs of which some take the place of a waiting one with the same key: that ends as skipped.
--
-- Needs    _base _lane _bells _lines _seats _facts _finish _kept _withdraw _lacking _accept _supersede _submit
--
-- KEYS[1]  about     the namespace's hash
-- KEYS[2]  lane      the client's lane
--
-- ARGV[1]  number    of this request in its lane
-- ARGV[2]  digest    of this request
-- ARGV[3]  strict    '1': refuse jobs whose seats could never be had
-- ARGV[4]  count     jobs that follow, at most 1,000
-- ARGV[5]  jobs      each in the words that _accept reads: fields, due, token (and keys),
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
--          past conflict forgotten   the lane refuses (see _lane)
--
-- Events   submitted first, count
local lane, number, digest, strict, count, FIRST = KEYS[2], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), 5

local known = lane_known(lane, number, digest)
if known then return known end
local reply = submitted(strict, count, FIRST, supersede)
finish_done()
seats_done()
return lane_keep(lane, number, digest, reply)
