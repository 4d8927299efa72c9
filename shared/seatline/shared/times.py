"""Moments to come: cron, intervals, windows. Pure functions of their inputs; the clock is passed in.

A moment is a number of ms since 1970 in UTC, as everywhere in the keys. Three kinds of clocks tell the next one:

* ``Cron``: times of a wall clock in an IANA zone, five fields
* ``Every``: a fixed grid, which no summer time moves
* ``after_end`` of a :class:`Timing`: so long after the end of the last run; who ends it says when

Where a wall clock jumps (rule T6)::

    spring   01:59 -> 03:00   a time that does not exist (02:30) is the next valid minute (03:00)
    autumn   02:59 -> 02:00   a time that exists twice (02:30) is the first of them

So a time of day comes once a day, every day. Only an hour that is exactly ``*`` names no time of day but a rhythm
within each hour: such a cron goes on in both hours of the autumn and misses none in the spring, as in Vixie's cron.

A window (T9) opens and closes by the same wall clock. ``interval`` gives the one that is open at a moment, or the next.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from cronsim import CronSim, CronSimError

from seatline.shared.errors import InvalidInput

__all__ = ["NEVER", "Cron", "Every", "Interval", "Missed", "Plan", "Timing", "Window", "due_moments", "plan", "zone_of"]

#: The score of what has no next moment: 2^53 - 1, the greatest number that every part of the system keeps exactly.
NEVER: Final = 2**53 - 1
#: A moment that is later than this (ms) was missed: workers that are alive look at least every few seconds.
MISSED_AFTER: Final = 60_000
LEAST: Final = 1_000
MOST_KEPT: Final = 1_000
TEXT_MOST: Final = 200

Missed = Literal["skip", "once", "all"]
Interval = tuple[int, int]

_FIELDS: Final = ("minute", "hour", "day-of-month", "month", "day-of-week")
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)", re.ASCII)
_MINUTE: Final = 60_000
_DAY: Final = 86_400_000
#: Days looked ahead for a window: two weeks hold each of its days at least once, even where one falls into a gap.
_AHEAD: Final = 16
_JUMP: Final = dt.timedelta(hours=26)


@lru_cache(maxsize=256)
def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Return an IANA zone.

    Raises:
        InvalidInput: there is none of that name, or this machine has no zones at all.

    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        pass
    if not zoneinfo.available_timezones():
        raise InvalidInput(
            f"zone: {name!r} cannot be looked up: this machine has no time zones. Install them: pip install tzdata."
        )
    raise InvalidInput(f"zone: {str(name)[:60]!r} is no IANA time zone. Use a name such as Europe/Paris, or UTC.")


def _ms(moment: dt.datetime) -> int:
    return round(moment.timestamp()) * 1000


def _wall(moment: int, zone: zoneinfo.ZoneInfo) -> dt.datetime:
    """Return what the wall clock shows, to the second; its ``fold`` tells which of two."""
    return dt.datetime.fromtimestamp(moment // 1000, zone).replace(tzinfo=None)


def _exists(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> bool:
    there = wall.replace(tzinfo=zone)
    return there.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None, fold=0) == wall.replace(fold=0)


def _both(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> list[int]:
    """Return the moments at which the clock shows this: none, one or two."""
    if not _exists(wall, zone):
        return []
    return sorted({_ms(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1)})


def _first(wall: dt.datetime, zone: zoneinfo.ZoneInfo) -> int:
    """Return the first moment at which the clock shows this, or the first valid minute after the gap it is in."""
    found = _both(wall, zone)
    if found:
        return found[0]
    # In a gap the offset of before gives a moment after the jump, and that of after one before it.
    low, high = (_ms(wall.replace(tzinfo=zone, fold=fold)) // 1000 for fold in (1, 0))
    after = dt.datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if dt.datetime.fromtimestamp(middle, zone).utcoffset() == after:
            high = middle
        else:
            low = middle
    return -(-high // 60) * _MINUTE


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of a wall clock: minute, hour, day of month, month, day of week, as in crontab(5).

    Also ``L`` (last day), ``LW``, ``5L`` (last Friday), ``1#2`` (second Monday), names of months and days. If day of month
    and day of week both say something, either of them is enough.

    Raises:
        InvalidInput: it is not good; names the field. Or there is no such zone.

    """

    text: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InvalidInput(f"cron: {self.text!r} is not a text such as '30 2 * * Mon-Fri'.")
        parts = self.text.split()
        if len(parts) != len(_FIELDS) or len(self.text) > TEXT_MOST:
            raise InvalidInput(
                f"cron: {self.text[:60]!r} has {len(parts)} fields and not five: {', '.join(_FIELDS)}. "
                "'30 2 * * Mon-Fri' is half past two on working days."
            )
        try:
            CronSim(self.text, dt.datetime(2000, 1, 1))  # noqa: DTZ001 - a wall clock has no zone
        except CronSimError as error:
            raise InvalidInput(self._wrong(str(error).removeprefix("Bad "), parts)) from None
        zone_of(self.zone)

    def _wrong(self, field: str, parts: list[str]) -> str:
        part = parts[_FIELDS.index(field)] if field in _FIELDS else "?"
        return (
            f"cron: {self.text!r}: the {field} {part!r} is not good. The fields are minute 0-59, hour 0-23, "
            "day-of-month 1-31, month 1-12, day-of-week 0-7 (0 and 7 are Sunday); with *, lists, ranges, steps."
        )

    @property
    def rhythm(self) -> bool:
        """Whether it names no time of day: its hour is ``*``."""
        return self.text.split()[1] == "*"

    def next_after(self, moment: int) -> int | None:
        """Return the first moment after this one, or None if none comes within 50 years."""
        zone = zone_of(self.zone)
        wall = _wall(moment, zone)
        found = self._next(wall.replace(fold=0), moment, zone)
        if self.rhythm and not wall.fold and len(both := _both(wall, zone)) > 1:
            # The clock will show these minutes once more: what it showed already comes again.
            again = self._again(wall, both[1] - both[0], zone)
            found = again if found is None or (again is not None and again < found) else found
        return found

    def _next(self, wall: dt.datetime, moment: int, zone: zoneinfo.ZoneInfo) -> int | None:
        for shown in CronSim(self.text, wall):
            found = _both(shown, zone) if self.rhythm else [_first(shown, zone)]
            for each in found:
                if each > moment:
                    return each
        return None

    def _again(self, wall: dt.datetime, jump: int, zone: zoneinfo.ZoneInfo) -> int | None:
        """Return the first moment of the clock's second round, of those that it shows up to ``wall``."""
        for shown in CronSim(self.text, wall - dt.timedelta(milliseconds=jump)):
            if shown > wall:
                return None
            both = _both(shown, zone)
            if len(both) > 1:
                return both[1]
        return None


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed grid: ``anchor``, and then every so many ms (T8)."""

    interval: int
    anchor: int

    def __post_init__(self) -> None:
        if self.interval < LEAST:
            raise InvalidInput(f"every: {self.interval / 1000:g} s is less than 1 s.")

    def next_after(self, moment: int) -> int | None:
        """Return the first moment of the grid after this one."""
        if moment < self.anchor:
            return self.anchor
        return self.anchor + ((moment - self.anchor) // self.interval + 1) * self.interval


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule runs: a clock, from ``start`` on, up to ``end``; each included, None for no bound.

    ``after_end``: the clock's interval counts from the end of the last run.
    """

    clock: Cron | Every
    start: int | None = None
    end: int | None = None
    after_end: bool = False

    def next_after(self, moment: int) -> int | None:
        """Return the first moment after this one at which it runs, or None: it has ended, or waits for its run's end."""
        if self.start is not None and moment < self.start:
            moment = self.start - 1
        return self._bounded(self.clock.next_after(moment))

    def after_run(self, ended: int) -> int | None:
        """Return when it runs again after a run that ended then (``after_end``)."""
        return self._bounded(ended + self.clock.interval) if isinstance(self.clock, Every) else self.next_after(ended)

    def _bounded(self, moment: int | None) -> int | None:
        return None if moment is None or (self.end is not None and moment > self.end) else moment


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen now: the moments to be fired, oldest first, and the next one to come (None: none)."""

    moments: tuple[int, ...]
    next: int | None


def due_moments(timing: Timing, planned: int, now: int, most: int) -> list[int]:
    """Return the last moments, at most so many, from ``planned`` to ``now``, oldest first.

    ``planned`` is due and always counts, whatever the clock says of it: it was promised.
    """
    now = now if timing.end is None else max(planned, min(now, timing.end))
    if isinstance(timing.clock, Every):
        passed = (now - planned) // timing.clock.interval
        return [planned + n * timing.clock.interval for n in range(max(0, passed + 1 - most), passed + 1)]
    # A year of minutes is not walked for its last few: look back a little, then twice as far.
    back = _MINUTE
    while True:
        since = max(planned, now - back)
        found = [] if since > planned else [planned]
        for moment in _walk(timing, since):
            if moment > now:
                break
            found.append(moment)
        if len(found) >= most or since == planned:
            return found[-most:]
        back *= 2


def _walk(timing: Timing, moment: int) -> Iterator[int]:
    found = timing.next_after(moment)
    while found is not None:
        yield found
        found = timing.next_after(found)


def plan(timing: Timing, *, planned: int, now: int, missed: Missed, most: int) -> Plan:
    """Say what a schedule that was planned for ``planned`` does ``now`` (T7).

    A moment more than a minute old was missed. ``skip``: only one that was not missed is fired. ``once``: one run, however
    many moments have passed. ``all``: each of them, at most the last ``most``.
    """
    if now < planned:
        return Plan((), planned)
    on_time = now - planned <= MISSED_AFTER
    if timing.after_end:
        if missed == "skip" and not on_time:
            return Plan((), timing.after_run(now))
        return Plan((planned,), None)
    found = due_moments(timing, planned, now, most if missed == "all" else 1)
    if missed == "skip" and now - found[-1] > MISSED_AFTER:
        found = []
    return Plan(tuple(found), timing.next_after(now))


@dataclass(frozen=True, slots=True)
class Window:
    """When jobs of a type may start: ``Mon-Fri 20:00-05:00 Europe/Paris`` (T9).

    ::

        [DAYS] HH:MM-HH:MM [; [DAYS] HH:MM-HH:MM ...] ZONE

    Days are ``Mon``, ``Mon-Fri`` or ``Mon,Wed,Fri``, every day if left out. One that closes before it opens closes on the
    next day, and belongs to the day on which it opens. A time that exists twice is the first, one that does not exist the
    next valid minute; a window that is all in such a gap does not open that day.

    Raises:
        InvalidInput: it is not good; says what and shows the form.

    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise _no_window(self.text, "is not a text")
        _window(self.text)

    @property
    def zone(self) -> str:
        """The name of its zone."""
        return _window(self.text)[1]

    def interval(self, moment: int) -> Interval:
        """Return (opens, closes) of the window that is open then, or of the next; ``NEVER`` closes one without end."""
        spans, zone_name = _window(self.text)
        zone = zone_of(zone_name)
        today = _wall(moment, zone).date()
        found: list[Interval] = []
        for ahead in range(-2, _AHEAD):
            day = today + dt.timedelta(days=ahead)
            for days, start, end in spans:
                if day.weekday() not in days:
                    continue
                opens, closes = _first(_at(day, start), zone), _first(_at(day, end), zone)
                if opens < closes:
                    found.append((opens, closes))
        merged = _merged(sorted(found))
        opens, closes = next(each for each in merged if each[1] > moment)
        return (opens, NEVER) if closes - moment > (_AHEAD - 3) * _DAY else (opens, closes)

    def open_until(self, moment: int) -> int | None:
        """Return when it closes, if it is open at this moment; ``NEVER`` if it never does."""
        opens, closes = self.interval(moment)
        return closes if opens <= moment else None

    def opens_at(self, moment: int) -> int:
        """Return when it opens next; the moment itself if it is open."""
        return max(moment, self.interval(moment)[0])


def _at(day: dt.date, minutes: int) -> dt.datetime:
    return dt.datetime.combine(day, dt.time()) + dt.timedelta(minutes=minutes)


def _merged(intervals: list[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for opens, closes in intervals:
        if merged and opens <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(closes, merged[-1][1])
        else:
            merged.append((opens, closes))
    return merged


@lru_cache(maxsize=256)
def _window(text: str) -> tuple[list[tuple[frozenset[int], int, int]], str]:
    """Read a window: (weekdays, minute it opens, minute it closes, counted from midnight) of each part, and the zone."""
    if len(text) > TEXT_MOST:
        raise _no_window(text, f"is longer than {TEXT_MOST} characters")
    body, _, zone = text.strip().rpartition(" ")
    if not body or ":" in zone:
        raise _no_window(text, "names no zone at its end")
    try:
        zone_of(zone)
    except InvalidInput as error:
        raise InvalidInput(f"window: {text!r}: {error}") from None
    return [_span(part.split(), text) for part in body.split(";")], zone


def _span(words: list[str], text: str) -> tuple[frozenset[int], int, int]:
    match = _HOURS.fullmatch(words[-1]) if 0 < len(words) <= 2 else None  # noqa: PLR2004
    if match is None:
        raise _no_window(text, f"has {' '.join(words)!r} where [DAYS] HH:MM-HH:MM is meant")
    days = _days(words[0], text) if len(words) == 2 else frozenset(range(7))  # noqa: PLR2004 - days and hours
    hours = [int(number) for number in match.groups()]
    start, end = 60 * hours[0] + hours[1], 60 * hours[2] + hours[3]
    if max(hours[1], hours[3]) > 59 or start >= 1440 or end > 1440:  # noqa: PLR2004 - minutes of an hour, of a day
        raise _no_window(text, f"has {words[-1]!r}, which is no time of a day (00:00 to 24:00)")
    if start == end:
        raise _no_window(text, f"has {words[-1]!r}, which is never open. A whole day is 00:00-24:00")
    return days, start, end if end > start else end + 1440


def _days(word: str, text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in word.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise _no_window(text, f"has {part!r} where a day is meant (Mon Tue Wed Thu Fri Sat Sun)")
        low, high = _DAYS.index(first), _DAYS.index(last or first)
        found |= {day % 7 for day in range(low, high + 1 if high >= low else high + 8)}
    return frozenset(found)


def _no_window(text: object, wrong: str) -> InvalidInput:
    return InvalidInput(f"window: {str(text)[:TEXT_MOST]!r} {wrong}. Use 'Mon-Fri 20:00-05:00 Europe/Paris'.")
