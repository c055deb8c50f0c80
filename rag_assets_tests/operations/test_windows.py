"""Windows and daily times: clock changes, midnight, and boundaries."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_assets.operations.windows import (
    DailyTime,
    WeeklyWindows,
    backfill_windows,
    moment,
    span,
    when,
)
from rag_assets.settings.model import Settings

SAO_PAULO, BERLIN, NEW_YORK = map(
    ZoneInfo, ("America/Sao_Paulo", "Europe/Berlin", "America/New_York")
)
DEFAULT = WeeklyWindows(SAO_PAULO, frozenset({5, 6}), "01:00", 6)


def local(zone: ZoneInfo, *parts: int, fold: int = 0) -> datetime:
    """A local time, in UTC."""
    return datetime(*parts, tzinfo=zone, fold=fold).astimezone(UTC)  # type: ignore[misc]


def test_the_default_is_saturday_and_sunday_at_one_in_sao_paulo() -> None:
    assert backfill_windows(Settings()) == DEFAULT


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)))
def test_the_last_window_is_the_open_one_or_the_one_before_the_next(now: datetime) -> None:
    for windows in (DEFAULT, WeeklyWindows(BERLIN, frozenset({6}), "02:30", 24)):
        last = windows.last(now)
        assert last == (windows.open_at(now) or last)
        assert last.opens <= now < windows.next_after(last.opens).opens


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        ((2026, 11, 21, 0, 59), None),  # a Saturday
        ((2026, 11, 21, 1, 0), 21),
        ((2026, 11, 21, 6, 59), 21),
        ((2026, 11, 21, 7, 0), None),
        ((2026, 11, 22, 1, 0), 22),
        ((2026, 11, 23, 1, 0), None),
        ((2026, 11, 25, 12, 0), None),
    ],
)
def test_a_window_is_open_from_its_first_minute_up_to_its_last(
    now: tuple[int, ...], opened: int | None
) -> None:
    window = DEFAULT.open_at(local(SAO_PAULO, *now))
    if opened is None:
        assert window is None
    else:
        assert window is not None
        assert window.opens == local(SAO_PAULO, 2026, 11, opened, 1)
        assert window.minutes == 360
        assert window.key == f"2026-11-{opened}T04:00+00:00"


def test_the_next_window_is_shown_with_the_time_until_then() -> None:
    wednesday = local(SAO_PAULO, 2026, 11, 18, 12, 30)
    opens = DEFAULT.next_after(wednesday).opens
    assert opens == local(SAO_PAULO, 2026, 11, 21, 1)
    assert when(opens, wednesday, SAO_PAULO) == "Saturday 01:00 America/Sao_Paulo, in 2 d 12 h"
    in_it = local(SAO_PAULO, 2026, 11, 22, 1)
    assert DEFAULT.next_after(in_it).opens == local(SAO_PAULO, 2026, 11, 28, 1)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opened() -> None:
    windows = WeeklyWindows(SAO_PAULO, frozenset({6}), "22:00", 8)
    monday = local(SAO_PAULO, 2026, 11, 23, 5, 59)
    window = windows.open_at(monday)
    assert window is not None
    assert window.opens == local(SAO_PAULO, 2026, 11, 22, 22)
    assert window.minutes_left(monday) == 1
    assert windows.open_at(monday + timedelta(minutes=1)) is None


@pytest.mark.parametrize(
    ("zone", "start", "day", "opens", "closes"),
    [
        # Berlin, 29 March 2026: 02:00 becomes 03:00; 25 October: 03:00 becomes 02:00.
        (BERLIN, "01:00", (2026, 3, 29), "00:00", "06:00"),
        (BERLIN, "02:30", (2026, 3, 29), "01:30", "07:30"),  # not on the clock: 03:30
        (BERLIN, "01:00", (2026, 10, 25), "23:00", "05:00"),
        (BERLIN, "02:30", (2026, 10, 25), "00:30", "06:30"),  # twice on the clock: the first
        # New York, 8 March 2026 and 1 November 2026.
        (NEW_YORK, "01:00", (2026, 3, 8), "06:00", "12:00"),
        (NEW_YORK, "02:30", (2026, 3, 8), "07:30", "13:30"),
        (NEW_YORK, "01:30", (2026, 11, 1), "05:30", "11:30"),
    ],
)
def test_a_window_opens_once_and_keeps_its_length_across_clock_changes(
    zone: ZoneInfo, start: str, day: tuple[int, int, int], opens: str, closes: str
) -> None:
    windows = WeeklyWindows(zone, frozenset({6}), start, 6)
    window = windows.next_after(local(zone, *day, 0, 0))
    assert (f"{window.opens:%H:%M}", f"{window.closes:%H:%M}") == (opens, closes)
    assert windows.open_at(window.opens) == window
    assert windows.open_at(window.opens - timedelta(minutes=1)) is None
    minutes = (window.opens + timedelta(minutes=place) for place in range(0, 360, 5))
    assert {windows.open_at(at) for at in minutes} == {window}
    assert windows.next_after(window.opens).opens > window.closes


DAYS = st.frozensets(st.integers(0, 6), min_size=1)


@settings(deadline=None, max_examples=40)
@given(
    zone=st.sampled_from([SAO_PAULO, BERLIN]),
    days=DAYS,
    start=st.times().map(lambda at: f"{at:%H:%M}"),
    hours=st.integers(1, 48).map(lambda halves: halves / 2),
)
def test_cron_ticks_cover_every_window_and_an_extra_hour_in_zones_with_summer_time(
    zone: ZoneInfo, days: frozenset[int], start: str, hours: float
) -> None:
    windows = WeeklyWindows(zone, days, start, hours)
    first = datetime(2026, 6, 1, tzinfo=UTC)  # no clock changes within the fortnight behind it
    ticks = schedule_execution_time_iterator(
        first.timestamp(), windows.cron_lines(5), zone.key, ascending=True
    )
    last = first + timedelta(days=14)
    seen = [one.astimezone(UTC) for one in takewhile(lambda tick: tick < last, ticks)]
    wanted, after, at = set(), set(), first
    spare = timedelta(hours=zone is BERLIN)
    while (window := windows.next_after(at)).opens < last:
        at = window.opens
        for tick in range(0, int(hours * 60) + 60, 5):
            moment_ = at + timedelta(minutes=tick)
            if moment_ < window.closes:
                wanted.add(moment_)
            elif moment_ < window.closes + spare:
                after.add(moment_)
    begun = windows.next_after(first).opens  # ticks of a window before it are none of these
    seen = [one for one in seen if one >= begun]
    assert len(seen) == len(set(seen)), "no moment twice"
    assert {one for one in wanted if one < last} <= set(seen)
    assert set(seen) <= wanted | after


ZONES = st.sampled_from([SAO_PAULO, BERLIN, NEW_YORK, ZoneInfo("Pacific/Kiritimati")])
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))
CLOCKS = st.times().map(lambda at: f"{at:%H:%M}")


@given(
    ZONES,
    st.sets(st.integers(0, 6), min_size=1).map(frozenset),
    CLOCKS,
    st.floats(0.1, 24),
    MOMENTS,
)
def test_an_open_window_contains_now_and_the_next_one_opens_later_on_a_configured_day(
    zone: ZoneInfo, days: frozenset[int], start: str, hours: float, now: datetime
) -> None:
    windows = WeeklyWindows(zone, days, start, hours)
    window, following = windows.open_at(now), windows.next_after(now)
    assert now < following.opens <= now + timedelta(days=7, hours=1)
    assert windows.open_at(following.opens) == following
    if window is not None:
        assert window.opens <= now < window.closes
        assert window.closes - window.opens == timedelta(hours=hours)
    for found in filter(None, (window, following)):
        assert (found.opens.astimezone(zone) - timedelta(hours=1)).weekday() in days or (
            found.opens.astimezone(zone).weekday() in days
        )


@given(ZONES, CLOCKS, MOMENTS)
def test_the_last_and_the_next_time_of_the_day_are_a_day_apart_with_now_between(
    zone: ZoneInfo, clock: str, now: datetime
) -> None:
    daily = DailyTime(zone, clock)
    last, following = daily.last(now), daily.next_after(now)
    assert last <= now < following
    assert timedelta(hours=23) <= following - last <= timedelta(hours=25)


def test_a_time_of_day_is_in_the_zone() -> None:
    eleven = DailyTime(SAO_PAULO, "23:00")
    assert eleven.on(date(2026, 11, 21)) == datetime(2026, 11, 22, 2, tzinfo=UTC)
    assert moment(date(2026, 11, 21), "00:00", SAO_PAULO) == datetime(2026, 11, 21, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ({"days": 3, "hours": 4, "minutes": 59}, "3 d 4 h"),
        ({"hours": 4, "minutes": 5}, "4 h 5 min"),
        ({"minutes": 5, "seconds": 59}, "5 min"),
        ({"seconds": -1}, "0 min"),
    ],
)
def test_a_span_is_formatted_in_its_two_largest_units(length: dict[str, float], words: str) -> None:
    assert span(timedelta(**length)) == words
