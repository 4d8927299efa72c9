"""T6, T7, T8, T9: moments to come, as pure functions; ten years of them against an independent computation."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seatline.shared.errors import InvalidInput
from seatline.shared.times import NEVER, Cron, Every, Missed, Plan, Timing, Window, due_moments, plan

ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
YEARS = range(2024, 2034)


def ms(text: str, zone: str = "UTC", fold: int = 0) -> int:
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)


def ticks(clock: Cron | Every | Timing, since: int, until: int) -> Iterator[int]:
    found = clock.next_after(since)
    while found is not None and found <= until:
        yield found
        found = clock.next_after(found)


def shown(moment: int, zone: str) -> str:
    return dt.datetime.fromtimestamp(moment / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M %Z")


# -- the independent computation: it knows nothing of cron, walks real time, and asks the zone what its clock shows


STEP = 5  # minutes: every expression below, and every jump of these zones' clocks, is at a multiple of five


class Walk:
    """Every fifth real minute of ten years in one zone: what the wall clock shows then (minutes since 1970)."""

    def __init__(self, zone: str) -> None:
        tz = ZoneInfo(zone)
        self.low = round(dt.datetime(YEARS[0], 1, 1, tzinfo=tz).timestamp()) // 60
        high = round(dt.datetime(YEARS[-1] + 1, 1, 1, tzinfo=tz).timestamp()) // 60
        self.shows: list[int] = []
        for minute in range(self.low, high, STEP):
            offset = dt.datetime.fromtimestamp(minute * 60, tz).utcoffset()
            assert offset is not None
            self.shows.append(minute + round(offset.total_seconds()) // 60)


WALKS: dict[str, Walk] = {}


def walk(zone: str) -> Walk:
    if zone not in WALKS:
        WALKS[zone] = Walk(zone)
    return WALKS[zone]


Matcher = tuple[set[int], set[int], set[int], set[int], set[int]]


def matches(wall: int, spec: Matcher) -> bool:
    minutes, hours, days, months, weekdays = spec
    if wall % 60 not in minutes or wall // 60 % 24 not in hours:
        return False
    date = dt.date(1970, 1, 1) + dt.timedelta(days=wall // 1440)
    return date.day in days and date.month in months and date.isoweekday() in weekdays


def naive(zone: str, spec: Matcher, *, rhythm: bool) -> list[int]:
    """Walk through real time. A wall time that was passed over is owed, and paid at the next minute there is; one that
    was shown before is not shown again. A rhythm asks only what the clock shows now."""
    found: list[int] = []
    road = walk(zone)
    highest = road.shows[0] - STEP
    for i, wall in enumerate(road.shows):
        if rhythm:
            fires = matches(wall, spec)
        else:
            fires = any(matches(passed, spec) for passed in range(highest + STEP, wall + 1, STEP))
            highest = max(highest, wall)
        if fires:
            found.append((road.low + i * STEP) * MINUTE)
    return found


ALL: Matcher = (set(range(60)), set(range(24)), set(range(1, 32)), set(range(1, 13)), set(range(1, 8)))


def spec(**fields: set[int]) -> Matcher:
    names = ("minutes", "hours", "days", "months", "weekdays")
    made = [fields.get(name, every) for name, every in zip(names, ALL, strict=True)]
    return made[0], made[1], made[2], made[3], made[4]


CRONS: list[tuple[str, Matcher, bool]] = [
    ("30 2 * * *", spec(minutes={30}, hours={2}), False),
    ("15 2 * * *", spec(minutes={15}, hours={2}), False),
    ("45 1 * * *", spec(minutes={45}, hours={1}), False),
    ("0 2,3 * * *", spec(minutes={0}, hours={2, 3}), False),
    ("*/20 1-3 * * *", spec(minutes={0, 20, 40}, hours={1, 2, 3}), False),
    ("0 */6 * * *", spec(minutes={0}, hours={0, 6, 12, 18}), False),
    ("30 2 * 3,4,10,11 Sun", spec(minutes={30}, hours={2}, months={3, 4, 10, 11}, weekdays={7}), False),
    ("0 0 31 * *", spec(minutes={0}, hours={0}, days={31}), False),
    ("0 20 * * Mon-Fri", spec(minutes={0}, hours={20}, weekdays={1, 2, 3, 4, 5}), False),
    ("10 * * 3,4,10,11 *", spec(minutes={10}, months={3, 4, 10, 11}), True),
    ("*/30 * * * Sun", spec(minutes={0, 30}, weekdays={7}), True),
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("text", "expected", "rhythm"), CRONS, ids=[text for text, _, _ in CRONS])
def test_t6_ten_years_of_ticks(zone: str, text: str, expected: Matcher, rhythm: bool) -> None:
    """T6: ten years in three zones, each tick, against a walk through real time that knows nothing of cron."""
    since, until = ms(f"{YEARS[0]}-01-01", zone) - 1, ms(f"{YEARS[-1] + 1}-01-01", zone) - 1
    cron = Cron(text, zone)
    assert cron.rhythm is rhythm
    assert list(ticks(cron, since, until)) == naive(zone, expected, rhythm=rhythm)


class TestJumps:
    """T6: where the wall clock jumps, to the minute."""

    @pytest.mark.parametrize(
        ("text", "zone", "day", "told"),
        [
            ("30 2 * * *", "Europe/Paris", "2026-03-29", ["03-29 03:00 CEST"]),
            ("0 2,3 * * *", "Europe/Paris", "2026-03-29", ["03-29 03:00 CEST"]),
            ("*/30 2 * * *", "Europe/Paris", "2026-03-29", ["03-29 03:00 CEST"]),
            ("30 2 * * *", "America/New_York", "2026-03-08", ["03-08 03:00 EDT"]),
            ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["10-04 02:30 +11"]),
            ("30 2 * * *", "Europe/Paris", "2026-10-25", ["10-25 02:30 CEST"]),
            ("30 1 * * *", "America/New_York", "2026-11-01", ["11-01 01:30 EDT"]),
            ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["04-05 01:45 +11"]),
            ("30 0 * * *", "Africa/Cairo", "2026-04-24", ["04-24 01:00 EEST"]),
            ("30 0 30 12 *", "Pacific/Apia", "2011-12-29", []),  # a day that never was
        ],
    )
    def test_t6_a_time_of_day_comes_once_a_day(self, text: str, zone: str, day: str, told: list[str]) -> None:
        """T6: in the gap at the next valid minute, in the overlap at the first of both."""
        since = ms(day, zone) - 1
        found = [shown(moment, zone) for moment in ticks(Cron(text, zone), since, since + 23 * HOUR)]
        assert found == told

    def test_t6_a_day_that_never_was_is_made_up_for(self) -> None:
        """T6: Apia had no 30 December 2011; its half past midnight is the first minute of the 31st."""
        (found,) = ticks(Cron("30 0 30 12 *", "Pacific/Apia"), ms("2011-01-01"), ms("2012-02-01"))
        assert shown(found, "Pacific/Apia").startswith("12-31 00:00")

    def test_t6_every_hour_goes_on_in_both_hours(self) -> None:
        """T6: an hour of * is a rhythm: 25 ticks in the long day, 23 in the short one, an hour apart."""
        for day, count in (("2026-10-25", 25), ("2026-03-29", 23)):
            since = ms(day, "Europe/Paris") - 1
            until = ms((dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat(), "Europe/Paris") - 1
            found = list(ticks(Cron("10 * * * *", "Europe/Paris"), since, until))
            assert len(found) == count
            assert {later - sooner for sooner, later in itertools.pairwise(found)} == {HOUR}

    def test_t6_asked_within_the_second_round_it_does_not_go_back(self) -> None:
        """T6: at 02:10 of the second round, 02:30 was an hour ago."""
        again = ms("2026-10-25T02:10", "Europe/Paris", fold=1)
        assert shown(Cron("30 2 * * *", "Europe/Paris").next_after(again) or 0, "Europe/Paris") == "10-26 02:30 CET"
        assert shown(Cron("30 * * * *", "Europe/Paris").next_after(again) or 0, "Europe/Paris") == "10-25 02:30 CET"


MOMENTS = st.integers(ms("2020-01-01"), ms("2035-01-01"))
TEXTS = st.sampled_from([text for text, _, _ in CRONS] + ["* * * * *", "0 0 L * *", "5 4 * * 1#2", "59 23 29 2 *"])


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, zone=st.sampled_from([*ZONES, "UTC", "Asia/Kathmandu", "America/Sao_Paulo"]), moment=MOMENTS)
def test_t6_next_is_after_and_nothing_is_between(text: str, zone: str, moment: int) -> None:
    """T6: strictly after; the same from any moment before it; so nobody who looks later or oftener sees another."""
    cron = Cron(text, zone)
    found = cron.next_after(moment)
    assert found is not None
    assert found > moment
    assert found % MINUTE == 0
    for between in (found - 1, (moment + found) // 2, found - MINUTE):
        if moment <= between < found:
            assert cron.next_after(between) == found


@settings(max_examples=200, deadline=None)
@given(interval=st.integers(1000, 10 * DAY), anchor=MOMENTS, moment=MOMENTS)
def test_t8_every_is_a_fixed_grid(interval: int, anchor: int, moment: int) -> None:
    """T8: each moment is a whole number of intervals from the anchor, the next one is less than one interval away."""
    found = Every(interval, anchor).next_after(moment)
    assert found is not None
    assert (found - anchor) % interval == 0
    assert found > moment
    assert found == anchor or found - moment <= interval


@settings(max_examples=200, deadline=None)
@given(
    clock=st.one_of(
        st.builds(Cron, TEXTS.filter(lambda text: text != "* * * * *"), st.sampled_from(ZONES)),
        st.builds(Every, st.integers(1000, DAY), MOMENTS),
    ),
    since=MOMENTS,
    away=st.integers(0, 3 * DAY),
    most=st.integers(1, 50),
)
def test_t7_the_last_of_what_has_passed(clock: Cron | Every, since: int, away: int, most: int) -> None:
    """T7: what is due is the tail of what a patient walk finds, however long nobody looked."""
    planned = clock.next_after(since)
    assert planned is not None
    now = planned + away
    walked = [planned, *itertools.islice(ticks(clock, planned, now), 500_000)]
    assert due_moments(Timing(clock), planned, now, most) == walked[-most:]


class TestMissed:
    """T7: what was missed while nobody was there."""

    HOURLY = Timing(Every(HOUR, 0))

    @pytest.mark.parametrize(
        ("missed", "late", "told"),
        [
            ("once", 0, [10]),
            ("once", 5 * HOUR, [15]),
            ("once", 5 * HOUR + 59 * MINUTE, [15]),
            ("all", 2 * HOUR, [10, 11, 12]),
            ("all", 50 * HOUR, [56, 57, 58, 59, 60]),
            ("skip", 59_000, [10]),
            ("skip", 61_000, []),
            ("skip", 5 * HOUR, [15]),
            ("skip", 5 * HOUR + 2 * MINUTE, []),
        ],
    )
    def test_t7_skip_once_all(self, missed: Missed, late: int, told: list[int]) -> None:
        """T7: skip leaves out what is more than a minute old, once makes one of many, all is bounded."""
        planned = 10 * HOUR
        found = plan(self.HOURLY, planned=planned, now=planned + late, missed=missed, most=5)
        assert [moment // HOUR for moment in found.moments] == told
        assert found.next == (planned + late) // HOUR * HOUR + HOUR

    def test_t7_before_its_moment_nothing_happens(self) -> None:
        """T7: one that is not due is left as it is."""
        assert plan(self.HOURLY, planned=HOUR, now=HOUR - 1, missed="all", most=5) == Plan((), HOUR)

    def test_t7_a_year_of_minutes_is_not_walked(self) -> None:
        """T7: the last few of half a million missed moments are found at once."""
        timing = Timing(Cron("* * * * *", "Europe/Paris"))
        planned, now = ms("2025-01-01"), ms("2026-01-01T00:00:30")
        found = plan(timing, planned=planned, now=now, missed="all", most=3)
        assert found.moments == tuple(ms("2026-01-01") - MINUTE * n for n in (2, 1, 0))

    def test_t6_start_and_end_are_bounds(self) -> None:
        """T6: no moment before start, none after end, both included; missed ones too."""
        timing = Timing(Every(HOUR, 0), start=3 * HOUR, end=5 * HOUR)
        assert list(ticks(timing, 0, DAY)) == [3 * HOUR, 4 * HOUR, 5 * HOUR]
        cron = Timing(Cron("0 * * * *"), start=3 * HOUR + 1, end=5 * HOUR)
        assert list(ticks(cron, 0, DAY)) == [4 * HOUR, 5 * HOUR]
        for each in (timing, cron):
            found = plan(each, planned=4 * HOUR, now=DAY, missed="all", most=9)
            assert found == Plan((4 * HOUR, 5 * HOUR), None)

    def test_t8_after_end_waits_for_its_run(self) -> None:
        """T8: once fired there is no next moment until the run has ended; skipped, it is an interval from now."""
        timing = Timing(Every(HOUR, 0), after_end=True, end=DAY)
        assert plan(timing, planned=HOUR, now=9 * HOUR, missed="once", most=9) == Plan((HOUR,), None)
        assert plan(timing, planned=HOUR, now=9 * HOUR, missed="skip", most=9) == Plan((), 10 * HOUR)
        assert timing.after_run(DAY - HOUR + 1) is None


class TestRefused:
    """T6, T9, R4: what is no clock is refused with the place named."""

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("61 * * * *", "minute '61'"),
            ("* 24 * * *", "hour '24'"),
            ("* * 0 * *", "day-of-month '0'"),
            ("* * * 13 *", "month '13'"),
            ("* * * * 8", "day-of-week '8'"),
            ("*/0 * * * *", "minute '\\*/0'"),
            ("0 0 31 2 *", "day-of-month '31'"),
            ("5-1 * * * *", "minute '5-1'"),
            ("* * * *", "4 fields and not five"),
            ("0 * * * * *", "6 fields and not five"),
            ("", "0 fields and not five"),
        ],
    )
    def test_t6_a_bad_cron_names_its_field(self, text: str, told: str) -> None:
        """T6, R4: the field and what stands in it."""
        with pytest.raises(InvalidInput, match=f"^cron: .*{told}"):
            Cron(text)

    @pytest.mark.parametrize("zone", ["Europe/Atlantis", "", "../../etc/passwd", "Europe", "paris " * 30])
    def test_t6_an_unknown_zone(self, zone: str) -> None:
        """T6, R4: only IANA names."""
        with pytest.raises(InvalidInput, match=r"^zone: .* is no IANA time zone"):
            Cron("* * * * *", zone)

    def test_t6_a_machine_without_zones_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """T6: no tzdata is told as that, with what to do."""
        monkeypatch.setattr("zoneinfo.available_timezones", set[str])
        with pytest.raises(InvalidInput, match="pip install tzdata"):
            Cron("* * * * *", "Europe/Nowhere")

    def test_t8_less_than_a_second(self) -> None:
        """T8, R4: the least interval."""
        with pytest.raises(InvalidInput, match=r"^every: 0\.5 s is less than 1 s"):
            Every(500, 0)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("Mon-Fri 20:00-05:00", "names no zone"),
            ("Mon-Fri 20:00-05:00 Mars/Base", "is no IANA time zone"),
            ("Mon-Fry 20:00-05:00 UTC", "'mon-fry' where a day"),
            ("Mon 20-05 UTC", "'Mon 20-05' where"),
            ("Mon 25:00-05:00 UTC", "no time of a day"),
            ("Mon 10:60-11:00 UTC", "no time of a day"),
            ("Mon 08:00-08:00 UTC", "never open"),
            ("Mon 08:00-09:00; UTC", "'' where"),
            ("UTC", "names no zone"),
            ("Mon Tue 08:00-09:00 UTC", "'Mon Tue 08:00-09:00' where"),
        ],
    )
    def test_t9_a_bad_window(self, text: str, told: str) -> None:
        """T9, R4: what is wrong, and the form."""
        with pytest.raises(InvalidInput, match=f"^window: .*{told}"):
            Window(text)


def wall_minutes(zone: str, day: str, count: int) -> Iterator[tuple[int, dt.datetime]]:
    start = ms(day, zone)
    for n in range(count):
        moment = start + n * 10 * MINUTE
        yield moment, dt.datetime.fromtimestamp(moment / 1000, ZoneInfo(zone))


class TestWindows:
    """T9: when a type may start."""

    def test_t9_nights_of_working_days(self) -> None:
        """T9: over midnight; Friday's night ends on Saturday, Sunday has none."""
        window = Window("Mon-Fri 20:00-05:00 Europe/Paris")
        for moment, wall in wall_minutes("Europe/Paris", "2026-06-01", 14 * 144):
            day, hour = wall.weekday(), wall.hour
            is_open = (hour >= 20 and day <= 4) or (hour < 5 and 1 <= day <= 5)
            opens, closes = window.interval(moment)
            assert (opens <= moment < closes) is is_open, wall
            assert closes > moment
            until = window.open_until(moment)
            assert (until is not None) is is_open
            assert window.opens_at(moment) == (moment if is_open else opens)

    def test_t9_friday_afternoon_waits_for_the_evening_and_saturday_for_monday(self) -> None:
        """T9: the next opening, over the weekend."""
        window = Window("Mon-Fri 20:00-05:00 Europe/Paris")
        assert window.opens_at(ms("2026-06-05T15:00", "Europe/Paris")) == ms("2026-06-05T20:00", "Europe/Paris")
        assert window.opens_at(ms("2026-06-06T06:00", "Europe/Paris")) == ms("2026-06-08T20:00", "Europe/Paris")

    def test_t9_summer_time(self) -> None:
        """T9, T6: in the gap the next valid minute, in the overlap the first; one that is all gap does not open."""
        window = Window("02:30-04:00 Europe/Paris")
        assert window.interval(ms("2026-03-29", "Europe/Paris")) == (ms("2026-03-29T01:00"), ms("2026-03-29T02:00"))
        assert window.interval(ms("2026-10-25", "Europe/Paris")) == (ms("2026-10-25T00:30"), ms("2026-10-25T03:00"))
        gone = Window("Sun 02:15-02:45 Europe/Paris")
        assert gone.opens_at(ms("2026-03-29", "Europe/Paris")) == ms("2026-04-05T02:15", "Europe/Paris")

    def test_t9_several_touch_and_may_never_close(self) -> None:
        """T9: windows that touch are one; one that is always open never closes."""
        window = Window("Mon-Fri 20:00-24:00; Tue-Sat 00:00-05:00; Sat,Sun 12:00-13:00 UTC")
        assert window.interval(ms("2026-06-01T21:00")) == (ms("2026-06-01T20:00"), ms("2026-06-02T05:00"))
        assert window.opens_at(ms("2026-06-06T06:00")) == ms("2026-06-06T12:00")
        assert Window("00:00-24:00 UTC").open_until(ms("2026-06-01")) == NEVER
        assert Window("Sat-Mon 10:00-11:00 UTC").opens_at(ms("2026-06-02")) == ms("2026-06-06T10:00")

    @settings(max_examples=100, deadline=None)
    @given(
        start=st.integers(0, 1439),
        length=st.integers(1, 1439),
        days=st.sets(st.integers(0, 6), min_size=1),
        zone=st.sampled_from(ZONES),
        moment=MOMENTS,
    )
    def test_t9_intervals_follow_each_other(
        self, start: int, length: int, days: set[int], zone: str, moment: int
    ) -> None:
        """T9: an interval ends after the moment it was asked for, and the next begins after it has ended."""
        end = (start + length) % 1440
        names = ",".join(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[day] for day in sorted(days))
        window = Window(f"{names} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} {zone}")
        opens, closes = window.interval(moment)
        assert opens < closes
        assert moment < closes
        if opens > moment:
            assert window.open_until(opens - 1) is None
        assert window.interval(opens) == (opens, closes)
        if closes < NEVER:
            assert window.interval(closes)[0] > closes
