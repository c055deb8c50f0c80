"""When work may be started automatically: weekly windows and daily times in a time zone. Pure.

Results are aware datetimes in UTC, because Python compares two datetimes of the same zone by local
time. A local time skipped in spring is shifted by the gap; one that occurs twice in autumn is the
first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from math import ceil
from zoneinfo import ZoneInfo

from rag_assets.settings.model import Settings

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """A period, excluding its end."""

    opens: datetime
    closes: datetime

    @property
    def key(self) -> str:
        """Tag value of the window's runs."""
        return self.opens.isoformat(timespec="minutes")

    @property
    def minutes(self) -> float:
        """Its length."""
        return self.minutes_left(self.opens)

    def minutes_left(self, now: datetime) -> float:
        return (self.closes - now) / timedelta(minutes=1)


@dataclass(frozen=True)
class WeeklyWindows:
    """Windows that open at the same time on certain days of the week.

    :param days: Monday is 0.
    :param start: such as ``01:00``.
    :param hours: elapsed hours, whatever the clock shows; at most 24.
    """

    zone: ZoneInfo
    days: frozenset[int]
    start: str
    hours: float

    def cron_lines(self, every_min: int) -> list[str]:
        """Return cron lines that tick every ``every_min`` minutes within the windows.

        When clocks are put forward a window closes an hour later in local time: in zones that
        change clocks, the lines cover that extra hour every day.
        """
        hour, minute = map(int, self.start.split(":"))
        opens = hour * 60 + minute
        length = self.hours * 60 + (60 if _changes_clocks(self.zone) else 0)
        ticks: dict[tuple[int, int], set[int]] = defaultdict(set)  # by day and hour
        for tick in range(opens, opens + ceil(length), every_min):
            for day in self.days:
                ticks[(day + tick // 1440) % 7, tick // 60 % 24].add(tick % 60)
        hours: dict[tuple[int, tuple[int, ...]], set[int]] = defaultdict(set)  # by day and minutes
        for (day, of_day), minutes in ticks.items():
            hours[day, tuple(sorted(minutes))].add(of_day)
        days: dict[tuple[str, str], set[int]] = defaultdict(set)
        for (day, of_hour), which in hours.items():
            days[_cron(of_hour, 60), _cron(sorted(which), 24)].add((day + 1) % 7)
        return sorted(f"{ms} {hs} * * {_cron(sorted(ds), 7)}" for (ms, hs), ds in days.items())

    def open_at(self, now: datetime) -> Window | None:
        """Return the open window; the later one if a clock change makes two overlap."""
        # Two days back: the day on which clocks are put forward may be shorter than the window.
        for window in reversed(list(self._of_days(now, -2, 0))):
            if window.opens <= now < window.closes:
                return window
        return None

    def last(self, now: datetime) -> Window:
        """Return the window that opened last, which may have closed."""
        return [window for window in self._of_days(now, -8, 0) if window.opens <= now][-1]

    def next_after(self, now: datetime) -> Window:
        """Return the first window that opens later."""
        return next(window for window in self._of_days(now, 0, 8) if window.opens > now)

    def _of_days(self, now: datetime, first: int, last: int) -> Iterator[Window]:
        today = now.astimezone(self.zone).date()
        for day in (today + place * _DAY for place in range(first, last + 1)):
            if day.weekday() in self.days:
                opens = moment(day, self.start, self.zone)
                yield Window(opens, opens + timedelta(hours=self.hours))


@dataclass(frozen=True)
class DailyTime:
    """A time of day, such as ``23:00``."""

    zone: ZoneInfo
    at: str

    @property
    def cron_line(self) -> str:
        """The cron line, in its zone."""
        hour, minute = map(int, self.at.split(":"))
        return f"{minute} {hour} * * *"

    def on(self, day: date) -> datetime:
        """Return that time on a day."""
        return moment(day, self.at, self.zone)

    def last(self, now: datetime) -> datetime:
        """Return its last occurrence."""
        today = now.astimezone(self.zone).date()
        return next(at for at in map(self.on, (today, today - _DAY)) if at <= now)

    def next_after(self, now: datetime) -> datetime:
        """Return its next occurrence."""
        today = now.astimezone(self.zone).date()
        return next(at for at in map(self.on, (today, today + _DAY)) if at > now)


def moment(day: date, clock: str, zone: ZoneInfo) -> datetime:
    """Convert a local date and time to UTC."""
    hour, minute = map(int, clock.split(":"))
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)


def _cron(values: Sequence[int], limit: int) -> str:
    """Format a cron field: ``*``, ``*/5``, ``1-6``, ``0,6``.

    :param values: ascending; ``limit``: the first value out of range.
    """
    steps = {later - former for former, later in pairwise(values)}
    if len(values) < 3 or len(steps) > 1:
        return ",".join(map(str, values))
    (step,) = steps
    whole = values[0] == 0 and values[-1] + step >= limit
    part = "*" if whole else f"{values[0]}-{values[-1]}"
    return part if step == 1 else f"{part}/{step}"


def _changes_clocks(zone: ZoneInfo) -> bool:
    year = datetime.now(UTC).year
    return len({datetime(year, month, 1, tzinfo=zone).utcoffset() for month in range(1, 13)}) > 1


def backfill_windows(settings: Settings) -> WeeklyWindows:
    """Return the windows of the weekend backfill."""
    return WeeklyWindows(
        zone=ZoneInfo(settings.rag_timezone),
        days=settings.backfill_weekdays(),
        start=settings.rag_backfill_start,
        hours=settings.rag_backfill_hours,
    )


def when(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Format a future time: ``Saturday 01:00 America/Sao_Paulo, in 3 d 4 h``."""
    return f"{at.astimezone(zone):%A %H:%M} {zone.key}, in {span(at - now)}"


def span(length: timedelta) -> str:
    """Format a duration by its two largest units: ``3 d 4 h``, ``4 h 5 min``, ``5 min``."""
    minutes = max(0, int(length / timedelta(minutes=1)))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
