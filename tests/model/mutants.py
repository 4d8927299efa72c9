"""Bugs sown on purpose: what the model must catch. Each is one exact text of a script and what takes its place.

A text that no longer occurs exactly once is an error, never a pass: whoever rewrites a script moves the bug along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model.real import assemble, many_types
from seatline.shared import scripts

__all__ = ["EVENT_MUTANTS", "MUTANTS", "ORDER_MUTANTS", "Mutant", "broken_scripts"]


@dataclass(frozen=True)
class Mutant:
    """A bug in a file of ``lua/``; ``breaks`` says what a user would see."""

    name: str
    file: str
    old: str
    new: str
    breaks: str
    many: int = 30


MUTANTS = [
    Mutant(
        "stays-in-line",
        "_reserve",
        "if #source > 0 then redis.call('ZREM', source.key, unpack(source)) end",
        "",
        "a job that runs is handed to the next worker too",
    ),
    Mutant(
        "seats-not-freed",
        "_settle",
        "if job[3] then free_seats(job[3], 'job:' .. id .. ':' .. job[2]) end",
        "",
        "each job with seats takes its seats with it",
    ),
    Mutant(
        "seats-freed-unseen",
        "_seats",
        "if redis.call('ZREM', pool.key .. ':sessions', owner .. '|' .. seat[2]) == 1 then",
        "if redis.call('ZREM', pool.key .. ':sessions', owner .. '|' .. seat[2]) >= 0 then",
        "a session that was reaped already is given back once more when its program closes it",
    ),
    Mutant(
        "token-ignored",
        "_settle",
        "job[2] == ARGV[at + 1]",
        "job[2]",
        "a worker thought dead settles what another one runs now",
    ),
    Mutant(
        "token-ignored-by-renew",
        "renew",
        "if job[1] == 'running' and job[2] == token then",
        "if job[1] == 'running' then",
        "a worker thought dead keeps another's lease alive",
    ),
    Mutant(
        "one-seat-too-many",
        "_seats",
        "if seats_free(pool, priority, id) < seat[2] then ok = false end",
        "if seats_free(pool, priority, id) < seat[2] - 1 then ok = false end",
        "more seats are in use than there are",
    ),
    Mutant(
        "no-claims",
        "_seats",
        "elseif ever then",
        "elseif false then",
        "a job that needs two seats starves behind many that need one",
    ),
    Mutant(
        "claims-not-left-alone",
        "_seats",
        "if ahead(claim, priority, member) then free = free - claim.need end",
        "",
        "less urgent jobs take the seats that a more urgent one waits for",
    ),
    Mutant(
        "claims-of-nobody",
        "_seats",
        "counts = need > 0 and not headed[own] and has_idle(type) and possible(spec, priority)",
        "counts = need > 0 and not headed[own] and possible(spec, priority)",
        "seats are kept for a job that no worker waits for",
    ),
    Mutant(
        "claims-of-the-impossible",
        "_seats",
        "has_idle(type) and possible(spec, priority)",
        "has_idle(type)",
        "seats are kept for a job that could never start",
    ),
    Mutant(
        "least-urgent-first",
        "_reserve",
        "source.priority < best.priority",
        "source.priority > best.priority",
        "priority means its opposite across lines",
    ),
    Mutant(
        "no-order-across-lines",
        "_reserve",
        "source.id < best.id",
        "false",
        "jobs of one priority are not taken in the order in which they came",
    ),
    Mutant(
        "attempt-not-counted",
        "_reserve",
        "attempt = job[i + 1] + 1",
        "attempt = 1",
        "every attempt is the first",
    ),
    Mutant(
        "hand-back-counted",
        "_settle",
        "'attempt', (job[4] or 1) - 1)",
        "'attempt', job[4] or 1)",
        "a job that was only handed back has used up an attempt",
    ),
    Mutant(
        "if-lost-ignored",
        "reap",
        "elseif job[5] == 'rerun' and losses < most",
        "elseif losses < most",
        "what a person should decide about runs again by itself",
    ),
    Mutant(
        "losses-without-end",
        "reap",
        "elseif job[5] == 'rerun' and losses < most",
        "elseif job[5] == 'rerun'",
        "a job that kills its workers kills them all",
    ),
    Mutant(
        "reaped-at-first-sight",
        "reap",
        "if score == deadline and score <= now and job[1] == 'running' and job[2] == b then",
        "if job[1] == 'running' and job[2] == b then",
        "a worker that renewed in time loses its job",
    ),
    Mutant(
        "repeat-executes",
        "_lane",
        "if tonumber(number) > tonumber(last) then return nil end",
        "if tonumber(number) >= tonumber(last) then return nil end",
        "a request whose reply was lost is executed twice",
    ),
    Mutant(
        "counter-from-nothing",
        "_seats",
        "pool.used = pool.used + tonumber(string.match(session, '|(%d+)$'))",
        "pool.used = 0",
        "a counter that expired counts as zero seats in use",
    ),
    Mutant(
        "promoted-twice",
        "_promote",
        "redis.call('ZREM', ns .. 'scheduled', id)",
        "",
        "a due job stays among those to come",
    ),
    Mutant(
        "cancelled-and-in-line",
        "_withdraw",
        "redis.call('ZREM', line_key(type, uses), id)",
        "",
        "a cancelled job runs",
    ),
    Mutant(
        "ids-by-tostring",
        "_accept",
        "local id = string.format('%016.0f', next)",
        "local id = tostring(next)\n        id = string.rep('0', 16 - #id) .. id",
        "ids repeat beyond 10^14",
    ),
    Mutant(
        "abandoned-fails",
        "_settle",
        "if outcome == 'abandoned' and job[5] ~= 'rerun' then outcome = 'interrupted' end",
        "if outcome == 'abandoned' then outcome = 'failed' end",
        "a drained worker's jobs count as failed",
    ),
    Mutant(
        "paused-type-runs",
        "_reserve",
        "if not v[1] and not (v[6]",
        "if not (v[6]",
        "a paused type runs",
    ),
    Mutant(
        "external-ignored",
        "_seats",
        "pool.external = tonumber(v[2]) end",
        "pool.external = 0 end",
        "seats that others use outside are given out",
    ),
    Mutant(
        "kept-for-nobody",
        "_seats",
        "if pool.keep > 0 and priority > pool.keep_priority then kept = pool.keep end",
        "",
        "batch jobs take the seats that are kept for urgent ones",
    ),
    Mutant(
        "nobody-rung",
        "_lines",
        "  ring(type, 1)\n",
        "",
        "a job that comes back waits until somebody happens to look",
    ),
    Mutant(
        "freed-seat-unheard",
        "_seats",
        "for _, pool in ipairs(changed) do ring_claims(pool) end",
        "",
        "a freed seat stays empty until somebody happens to look",
    ),
    Mutant(
        "closed-takes-jobs",
        "_submit",
        "if gates[1] then return {'closed'} end",
        "",
        "a closed namespace takes jobs",
    ),
    Mutant(
        "listeners-left",
        "_finish",
        "    if not mark then\n      ring_bell(bell)",
        "    if not mark then",
        "whoever waits for a result waits in vain",
    ),
    Mutant(
        "reported-twice",
        "_settle",
        " and not seen[id]",
        "",
        "two reports of one lease put its job into two places",
    ),
    Mutant(
        "retried-though-stopped",
        "_settle",
        "if job[5] then return nil, 'cancelled' end",
        "",
        "a job that was asked to stop makes another attempt",
    ),
    Mutant(
        "retried-too-late",
        "_settle",
        "if job[6] and due > tonumber(job[6]) then",
        "if false then",
        "an attempt is planned for a moment at which it may not begin",
    ),
    Mutant(
        "attempts-forgotten",
        "_settle",
        "redis.call('RPUSH', key .. ':attempts', now .. ' ' .. told)",
        "",
        "nobody can tell why the first attempts failed",
    ),
    Mutant(
        "error-stays",
        "_reserve",
        "if earlier then",
        "if false then",
        "a job that has succeeded shows the error of an earlier attempt",
    ),
    Mutant(
        "alarm-not-set-anew",
        "turn",
        "if due < 0 then alarm_anew(coming, 'scheduled', '-inf') end",
        "",
        "the next attempt is made when somebody happens to look",
    ),
    Mutant(
        "started-too-late",
        "_reserve",
        "if expires and expires < now then",
        "if false then",
        "a job starts after the moment until which it was worth anything",
    ),
    Mutant(
        "seats-of-the-late",
        "_reserve",
        "    if source.spec ~= 'none' then untake_seats(source.spec) end\n    finish(id, 'expired'",
        "    finish(id, 'expired'",
        "a job that never started holds a seat",
    ),
    Mutant(
        "late-until-wanted",
        "renew",
        "expire(100)",
        "",
        "a job that nobody looks for never expires",
    ),
    Mutant(
        "late-and-in-line",
        "_promote",
        "leave_place(id, job[1], job[2], job[3])",
        "",
        "a job that has expired stands in line",
    ),
    Mutant(
        "limit-forgotten",
        "_lines",
        "if expires then redis.call('ZADD', ns .. 'expiring', expires, id) end",
        "",
        "a job that was handed back too late waits for ever",
    ),
    Mutant(
        "resubmitted-in-vain",
        "resubmit",
        "'token', 'seats', 'expires',",
        "'token', 'seats',",
        "a job that a person runs again expires at once",
    ),
    Mutant(
        "failures-enqueue",
        "turn",
        "report.job and (report.outcome == 'succeeded' or report.outcome == 'skipped')",
        "report.job",
        "each failed attempt enqueues what only a good one should",
    ),
    Mutant(
        "the-stale-enqueue",
        "turn",
        "if report.starts and report.job and (",
        "if report.starts and (",
        "a worker thought dead enqueues once more what its job had enqueued",
    ),
    Mutant(
        "enqueued-twice",
        "_accept",
        "existed[i] = kept == content and id or ''",
        "if true then return kept == content and id or '' end",
        "a token that a handler gives does not keep its job from coming twice",
    ),
    Mutant(
        "index-and-line",
        "_reserve",
        "  redis.call('ZREM', group.key, group.id)\n",
        "",
        "a worker of many types leaves in line what it runs",
        many=2,
    ),
    Mutant(
        "index-ends-early",
        "_reserve",
        "  index_head(group.type, group.uses, group.types[group.type][5], group.spec)\n",
        "",
        "a worker of many types sees one job of each line",
        many=2,
    ),
    Mutant(
        "index-believed",
        "_reserve",
        "head[1] == id and head[2] == best[2]",
        "head[1]",
        "a worker of many types runs again what another one has run",
        many=2,
    ),
    Mutant(
        "index-not-told",
        "_lines",
        "  index_head(type, uses, indexed, spec)\n  if expires",
        "  if expires",
        "a job that comes back is not seen by workers of many types",
        many=2,
    ),
    Mutant(
        "index-paused",
        "_reserve",
        "if not v[1] and head[1] == id",
        "if head[1] == id",
        "a paused type runs, on workers of many types",
        many=2,
    ),
]


#: Bugs about orders, which the model does not know: the stories of `order_stories.py` must see them.
ORDER_MUTANTS = [
    Mutant(
        "join-too-early",
        "_steps",
        "all = all and (before == name or self.has_ended(o, before))",
        "",
        "a step that waits for two starts when the first of them has ended",
    ),
    Mutant(
        "set-back-once-more",
        "_steps",
        "if n > most then return",
        "if n > most + 1 then return",
        "a step is set back more often than its table says",
    ),
    Mutant(
        "setbacks-kept",
        "_steps",
        "if o.setbacks and setbacks(o)[name] then put_setback(o, name, nil) end",
        "",
        "a step that ended well is set back for longer next time",
    ),
    Mutant(
        "ended-for-good",
        "_steps",
        "      self.forget_each(o, step)\n      self.set_ended(o, step, false)\n",
        "      self.forget_each(o, step)\n",
        "an order that goes back ends where it had ended before",
    ),
    Mutant(
        "skip-runs",
        "_steps",
        "if skip[name] or (gate == 'skip' and o.state ~= 'scheduled') then",
        "if skip[name] then",
        "a skipped step runs",
    ),
    Mutant(
        "stop-forgotten",
        "_steps",
        "if gate == 'stop' and o.state == 'running' then",
        "if false then",
        "a stopped step runs",
    ),
    Mutant(
        "stop-loses",
        "_steps",
        "redis.call('ZADD', ns .. 'chain:' .. o.chain .. ':held:' .. name, o.priority, o.number .. ' ' .. o.id)",
        "",
        "orders that met a stopped step stand there for ever",
    ),
    Mutant(
        "running-taken-back",
        "_runs",
        "if job[1] == 'running' then return nil end",
        "",
        "a step of a suspended order runs twice",
    ),
    Mutant(
        "waiting-not-stopped",
        "_runs",
        "if not crowded and gate == 'open' then return",
        "if not crowded then return",
        "a job that waited when its step was stopped runs all the same",
    ),
    Mutant(
        "due-in-a-crowd",
        "_runs",
        "local crowded = o.state == 'scheduled' and (",
        "local crowded = false and (",
        "orders that come due together are more than max_orders",
    ),
    Mutant(
        "gone-while-running",
        "_runs",
        "if not o.leaving or o.gone or self.under_way(o) then",
        "if not o.leaving or o.gone then",
        "an order is gone, and its step still runs",
    ),
    Mutant(
        "loss-untold",
        "_runs",
        "if ends then self.note_run(o, id, job, ends) end",
        "",
        "the history of an order is silent about runs that were lost",
    ),
    Mutant(
        "one-too-many",
        "_orders",
        "':started') < c.most)",
        "':started') <= c.most)",
        "one order more than max_orders is in a chain",
    ),
    Mutant(
        "room-kept",
        "_orders",
        "if had_entered and self.gate(o.chain).most and self.admit(o.chain, 2)",
        "if false and self.admit(o.chain, 2)",
        "nobody takes the room of an order that was removed",
    ),
    Mutant(
        "never-out",
        "_orders",
        "    redis.call('ZREM', ns .. 'chain:' .. o.chain .. ':started', o.id)\n    tell_end",
        "    tell_end",
        "an ended order keeps its room",
    ),
    Mutant(
        "number-lost",
        "_orders",
        "    redis.call('HINCRBY', ns .. 'about', word, 1)\n",
        "",
        "the numbers of orders that are gone are missed by verify",
    ),
    Mutant(
        "version-gone",
        "_orders",
        "<= 0 and redis.call('HGET', chain, 'version') ~= o.version then",
        "<= 0 then",
        "a chain is lost when its last order is trimmed",
    ),
    Mutant(
        "element-given-up",
        "_elements",
        "if s.partial ~= 'join' then redis.call('ZADD', key .. ':bad', element, element) end",
        "",
        "an element that has failed is never run again",
    ),
    Mutant(
        "list-cut-off",
        "_elements",
        "      if left > 0 then return end\n      self.ends_badly",
        "      self.ends_badly",
        "an order fails while elements of its list still run",
    ),
    Mutant(
        "list-with-holes",
        "_elements",
        "parts[#parts + 1] = part or NIL",
        "parts[#parts + 1] = part or ''",
        "a joined list cannot be read if one of its elements has failed",
    ),
    Mutant(
        "expansion-forgotten",
        "order_expand",
        "redis.call('HSET', ns .. 'order:' .. order, 'odd', 1, 'eached',",
        "local _ = (",
        "what an expansion has stored outlives its order",
    ),
    Mutant(
        "reset-while-running",
        "order_act",
        "elseif running and (to or act == 'reset') then",
        "elseif running and to then",
        "an order is reset while a step runs, and is at two steps",
    ),
    Mutant(
        "admitted-and-kept",
        "chain_admit",
        "if #heads > 0 then redis.call('ZREM', line, unpack(heads)) end",
        "",
        "orders that have passed a gate stand in front of it for ever",
    ),
    Mutant(
        "straight-past-a-gate",
        "_straight",
        "if gate ~= 'open' or self.is_among(ended, to) then return false end",
        "",
        "a stop of a step does not stop orders that come from the step before it",
    ),
    Mutant(
        "straight-output-lost",
        "_straight",
        "redis.call('HSET', order.key .. ':data', 'out.' .. name, result)",
        "",
        "a step does not get what the one before it returned",
    ),
    Mutant(
        "straight-still-inside",
        "_straight",
        "redis.call('ZREM', ns .. 'chain:' .. chain .. ':started', unpack(ids))",
        "",
        "orders that have succeeded count for max_orders, and look as if they went on",
    ),
    Mutant(
        "end-untold",
        "_settle",
        "orders().ended(id, job[6], outcome, report.result, said, report.is_step and job)",
        "",
        "an order stays at a step that has ended",
    ),
    Mutant(
        "seats-of-the-held",
        "_reserve",
        "    if not with then\n      if source.spec ~= 'none' then untake_seats(source.spec) end\n",
        "    if not with then\n",
        "an order in front of a stopped step holds a seat",
    ),
    Mutant(
        "runs-overlap",
        "_orders",
        "    tell_end(o.id, o.listeners)\n    self.put(o, 'listeners', false)\n",
        "",
        "a schedule that counts from the end of its run never starts another order",
    ),
    Mutant(
        "interruption-untold",
        "reap",
        "elseif job[13] then\n",
        "elseif false then\n",
        "an order stays at a step that was interrupted",
    ),
]


EVENT_MUTANTS = [
    Mutant(
        "facts-not-taken",
        "_cause",
        "redis.call('LTRIM', waits, facts, -1)",
        "",
        "each failure is told again and again",
    ),
    Mutant(
        "facts-not-taken-by-emit",
        "emit",
        "if facts > 0 then take_facts(",
        "if false then take_facts(",
        "each failure is told again and again",
    ),
    Mutant(
        "facts-not-taken-by-gather",
        "gather",
        "if facts > 0 then take_facts(",
        "if false then take_facts(",
        "each failure is in every mail",
    ),
    Mutant(
        "facts-of-others",
        "_cause",
        "(is[2] or '0') == cause",
        "true",
        "two workers tell of one failure, and none of the next",
    ),
    Mutant(
        "facts-of-another-trigger",
        "_cause",
        "is[1] == version and",
        "is[1] and",
        "a trigger that was set anew still enqueues what it did before",
    ),
    Mutant(
        "refused-facts-lost",
        "_cause",
        "if not accepted then",
        "if false then",
        "what happens while the namespace is closed is never told",
    ),
    Mutant(
        "facts-untold",
        "_facts",
        "redis.call('ZADD', ns .. 'schedules', now, 'event:' .. event)",
        "",
        "no worker hears of a failure",
    ),
    Mutant(
        "facts-told-for-ever",
        "_cause",
        "if redis.call('EXISTS', waits) == 0 then redis.call('ZREM', ns .. 'schedules', member) end",
        "",
        "workers look for facts that there are not, for ever",
    ),
    Mutant(
        "own-facts-untold",
        "_facts",
        "self.told[#self.told + 1] = 'event:' .. event",
        "",
        "a lone worker tells of a failure at its next look only",
    ),
    Mutant(
        "depth-not-counted",
        "_facts",
        "depth = tonumber(depth or 0) + 1",
        "depth = 1",
        "a job whose failure triggers it again never comes to an end",
    ),
    Mutant(
        "depth-not-gathered",
        "gather",
        "if depth > tonumber(redis.call('HGET', key, 'depth') or 0) then",
        "if false then",
        "a job that gathers its own failures never comes to an end",
    ),
    Mutant(
        "depth-of-worker-lost",
        "reap",
        "math.max(before, tonumber(job[14]))",
        "0",
        "a job that kills its worker and is triggered by that never comes to an end",
    ),
    Mutant(
        "emitted-by-a-failure",
        "_settle",
        "if report.emits and (outcome == 'succeeded' or outcome == 'skipped') then",
        "if report.emits then",
        "a handler that fails has emitted its event all the same",
    ),
    Mutant(
        "attempts-told",
        "_settle",
        "    outcome, report.result = ends, ''\n  end\n",
        "    outcome, report.result = ends, ''\n  end\n  if report.emits then emit_events(id, report.emits) end\n",
        "a handler that ends well has emitted its event twice",
    ),
    Mutant(
        "lost-for-ever",
        "reap",
        "if redis.call('ZREM', ns .. 'workers', worker) == 0 then return 'alive' end",
        "",
        "a lost worker is told of at every look",
    ),
    Mutant(
        "forgotten-with-the-trigger",
        "trigger_remove",
        "redis.call('DEL', ns .. 'happened:' .. event)",
        "",
        "facts wait for a trigger that is gone",
    ),
    Mutant(
        "order-untold",
        "_orders",
        "    self.tell_of_end(o, state)\n",
        "",
        "the end of an order triggers nothing",
    ),
]


def broken_scripts(mutant: Mutant) -> dict[str, str]:
    """Return the texts of all scripts that contain the bug.

    Raises:
        ValueError: the text to be replaced does not occur exactly once.

    """
    found: list[int] = []

    few = many_types(mutant.many)

    def change(file: str, source: str) -> str:
        source = few(file, source)
        if file != mutant.file:
            return source
        found.append(source.count(mutant.old))
        return source.replace(mutant.old, mutant.new)

    texts = dict(_assembled(change))
    if set(found) != {1}:
        raise ValueError(f"mutant {mutant.name}: its text occurs {max(found, default=0)} times in {mutant.file}.lua")
    return texts


def _assembled(change: object) -> Iterator[tuple[str, str]]:
    for name in scripts.names():
        text = assemble(name, change)  # type: ignore[arg-type]
        if text != scripts.script(name).text:
            yield name, text
