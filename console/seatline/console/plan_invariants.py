"""What must be true of types, schedules, windows and facts that wait for a trigger, as pure functions of a moment.

* **I2 lines**: a line is listed by its type, and the type is listed: else no worker would look there
* **T6, T9 plans**: each schedule and each window stands in ``schedules`` at its next moment, and nothing else does
* **Q20 facts**: those that wait for a trigger have one, and stand in ``schedules``, so that a worker makes their jobs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from seatline.console import mends
from seatline.console.moment import Moment, number
from seatline.console.violation import Violation
from seatline.shared.calls.repair import Mend, Part
from seatline.shared.times import NEVER

__all__ = ["types_and_plans"]

_NAN = float("nan")


def types_and_plans(moment: Moment) -> Iterator[Violation]:
    """Judge all that a moment tells of them."""
    yield from _types(moment)
    yield from _lines(moment)
    yield from _schedules(moment)
    yield from _windows(moment)
    yield from _facts(moment)
    yield from _versions(moment)


def _types(moment: Moment) -> Iterator[Violation]:
    types = moment.sets.get("types", set[str]())
    for type_ in sorted(types ^ {name for name, fields in moment.types.items() if fields}):
        key = f"type:{type_}"
        if key not in moment.asked:
            continue
        if type_ in types:
            bases: tuple[Part, ...] = (("member", "types", type_, f"={type_}"), ("kind", key, "", "none"))
            says = "it has a record again; a window or a pause of it is lost"
            mend = Mend(says, bases, (("hset", key, "since", str(moment.now)),))
        else:
            mend = mends.listed("types", type_, "hash", key)
        yield Violation("I13", f"type {type_}", "it is in only one of types and type:<name>.", mend)


def _lines(moment: Moment) -> Iterator[Violation]:
    """I2: a line that its type does not list would never be looked at."""
    types = moment.sets.get("types", set[str]())
    for place, size in moment.sizes.items():
        if not place.startswith("ready:") or not size:
            continue
        type_, _, uses = place.removeprefix("ready:").partition("|")
        fields, key = moment.types.get(type_, {}), f"type:{type_}"
        lines = fields.get("lines", "").split()
        if type_ in types and (not uses or uses in lines):
            continue
        bases: list[Part] = [("kind", place, "", "zset"), *mends.fields(key, fields, "lines", "since")]
        writes: list[Part] = [("sadd", "types", type_, "")]
        if uses and uses not in lines:
            writes.append(("hset", key, "lines", " ".join([*lines, uses])))
        if "since" not in fields:
            writes.append(("hset", key, "since", str(moment.now)))
        said = f"no worker would look there: type {type_} does not list it."
        yield Violation("I2", place, said, Mend("its type lists it", tuple(bases), tuple(writes)))


def _schedules(moment: Moment) -> Iterator[Violation]:
    """T6: what has a next moment stands there, so that somebody wakes for it."""
    for name, fields in moment.schedules.items():
        score, key, subject = moment.planned.get(name), f"schedule:{name}", f"schedule {name}"
        if not fields.get("version") or not (fields.get("type") or fields.get("chain")):
            mend = mends.out_of("schedules", name, ("kind", key, "", "none")) if not fields and score else None
            said = "it is planned and has no record, or a damaged one."
            advice = "the schedule is lost: seatline schedules add, with --replace"
            yield Violation("T6", subject, said, mend, advice)
            continue
        coming = number(fields.get("next"), NEVER) if "paused" not in fields else NEVER
        mend = mends.placed(
            "schedules", name, coming, *mends.fields(key, fields, "version", "next", "paused", "error"), was=score
        )
        if score is None:
            yield Violation("T6", subject, "it is not in schedules: nobody would fire it.", mend)
        elif "error" in fields and "paused" not in fields:
            continue  # put off, so that others may try
        elif score != coming:
            yield Violation("T6", subject, f"it is planned for {score:.0f}, its next is {coming:.0f}.", mend)


def _windows(moment: Moment) -> Iterator[Violation]:
    for type_, fields in moment.types.items():
        entry = f"window:{type_}"
        if f"type:{type_}" not in moment.asked or ("window" not in fields and entry not in moment.planned):
            continue
        score, changes = moment.planned.get(entry), {fields.get("opens"), fields.get("closes")}
        if score is None or str(int(score)) not in changes:
            said = f"its window is planned for {score}, and does not change then."
            mend = _replanned(type_, fields, score, moment.now)
            yield Violation("T9", f"type {type_}", said, mend, f"set it anew: seatline types window {type_}")


def _replanned(type_: str, fields: Mapping[str, str], score: float | None, now: int) -> Mend | None:
    entry, bases = f"window:{type_}", mends.fields(f"type:{type_}", fields, "window", "opens", "closes")
    if "window" not in fields:
        return mends.out_of("schedules", entry, *bases)
    opens, closes = number(fields.get("opens"), _NAN), number(fields.get("closes"), _NAN)
    if opens != opens or closes != closes:  # noqa: PLR0124 - no number
        return None
    return mends.placed("schedules", entry, opens if opens > now else closes, *bases, was=score)


def _facts(moment: Moment) -> Iterator[Violation]:
    """Q20: whoever looks at ``schedules`` hears of facts that wait, and of no others."""
    for name in moment.kinds:
        event = name.removeprefix("happened:")
        if event == name:
            continue
        if f"trigger:{event}" not in moment.kinds and f"trigger:{event}" in moment.asked:
            advice = (
                f"what it triggers is lost: seatline triggers set {event}, or triggers remove {event} to forget them"
            )
            yield Violation("Q20", f"event {event}", "facts wait for it, and it triggers nothing.", advice=advice)
        if f"event:{event}" not in moment.planned:
            mend = mends.placed("schedules", f"event:{event}", moment.now, ("kind", name, "", "list"))
            yield Violation("Q20", f"event {event}", "facts wait for it, and no worker would hear of them.", mend)
    for name in moment.planned:
        event = name.removeprefix("event:")
        if event != name and f"happened:{event}" not in moment.kinds and f"happened:{event}" in moment.asked:
            mend = mends.out_of("schedules", name, ("kind", f"happened:{event}", "", "none"))
            yield Violation("Q20", f"event {event}", "workers are told of facts that there are not.", mend)
    triggers = moment.sets.get("triggers", set[str]())
    for event in sorted(
        triggers ^ {name.removeprefix("trigger:") for name in moment.kinds if name.startswith("trigger:")}
    ):
        if f"trigger:{event}" not in moment.asked:
            continue
        enter = None if event in triggers else mends.listed("triggers", event, "hash", f"trigger:{event}")
        advice = f"what it triggers is lost: seatline triggers set {event}, or triggers remove {event}"
        yield Violation("I13", f"event {event}", "it is in only one of triggers and trigger:<event>.", enter, advice)


def _versions(moment: Moment) -> Iterator[Violation]:
    """T6: a version is never given twice, so nobody fires what was replaced meanwhile."""
    given = max([int(number(each.get("version"))) for each in moment.schedules.values()], default=0)
    if given > number(moment.about.get("versions")) and "about" in moment.asked:
        bases = mends.fields("about", moment.about, "versions")
        mend = Mend(f"versions go on behind {given}", bases, (("hset", "about", "versions", str(given)),))
        yield Violation("T6", "about", f"a schedule has version {given}, and later ones would get it again.", mend)
