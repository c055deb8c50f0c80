"""When work may be started by itself: weekly windows and times of the day, in a time zone. Pure.

What is done in them is not decided here. Every moment knows its zone, and those that come out are
in UTC: Python compares two moments of one zone by what the clock shows. A time that the clock skips
in spring is taken as much later; one that it shows twice, the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from rag_assets.settings.model import Settings

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Window:
    """A stretch of time, its end not included."""

    opens: datetime
    closes: datetime

    @property
    def key(self) -> str:
        """What the runs of this window are tagged with."""
        return self.opens.isoformat(timespec="minutes")

    @property
    def minutes(self) -> float:
        """How long it is open in all."""
        return self.minutes_left(self.opens)

    def minutes_left(self, now: datetime) -> float:
        return (self.closes - now) / timedelta(minutes=1)


@dataclass(frozen=True)
class WeeklyWindows:
    """Windows that open at one time on some days of the week.

    :param days: Monday is 0.
    :param start: as ``01:00``.
    :param hours: that pass, whatever the clock shows; at most 24.
    """

    zone: ZoneInfo
    days: frozenset[int]
    start: str
    hours: float

    def open_at(self, now: datetime) -> Window | None:
        """The window that is open; of two, which a change of the clock can bring, the later."""
        # Two days back: the day on which clocks are put forward is shorter than the window.
        for window in reversed(list(self._of_days(now, -2, 0))):
            if window.opens <= now < window.closes:
                return window
        return None

    def last(self, now: datetime) -> Window:
        """The window that opened last: it is open, or was."""
        return [window for window in self._of_days(now, -8, 0) if window.opens <= now][-1]

    def next_after(self, now: datetime) -> Window:
        """The first window that opens later."""
        return next(window for window in self._of_days(now, 0, 8) if window.opens > now)

    def _of_days(self, now: datetime, first: int, last: int) -> Iterator[Window]:
        today = now.astimezone(self.zone).date()
        for day in (today + place * _DAY for place in range(first, last + 1)):
            if day.weekday() in self.days:
                opens = moment(day, self.start, self.zone)
                yield Window(opens, opens + timedelta(hours=self.hours))


@dataclass(frozen=True)
class DailyTime:
    """One time of each day, as ``23:00``."""

    zone: ZoneInfo
    at: str

    def on(self, day: date) -> datetime:
        """That time of a day."""
        return moment(day, self.at, self.zone)

    def last(self, now: datetime) -> datetime:
        """The last time that it was so late."""
        today = now.astimezone(self.zone).date()
        return next(at for at in map(self.on, (today, today - _DAY)) if at <= now)

    def next_after(self, now: datetime) -> datetime:
        """The first time that it will be."""
        today = now.astimezone(self.zone).date()
        return next(at for at in map(self.on, (today, today + _DAY)) if at > now)


def moment(day: date, clock: str, zone: ZoneInfo) -> datetime:
    """A day's time of the clock."""
    hour, minute = map(int, clock.split(":"))
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)


def backfill_windows(settings: Settings) -> WeeklyWindows:
    """The windows of the weekend backfill."""
    return WeeklyWindows(
        zone=ZoneInfo(settings.rag_timezone),
        days=settings.backfill_weekdays(),
        start=settings.rag_backfill_start,
        hours=settings.rag_backfill_hours,
    )


def when(at: datetime, now: datetime, zone: ZoneInfo) -> str:
    """A moment to come, as ``Saturday 01:00 America/Sao_Paulo, in 3 d 4 h``."""
    return f"{at.astimezone(zone):%A %H:%M} {zone.key}, in {span(at - now)}"


def span(length: timedelta) -> str:
    """Its two largest units: ``3 d 4 h``, ``4 h 5 min``, ``5 min``."""
    minutes = max(0, int(length / timedelta(minutes=1)))
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
