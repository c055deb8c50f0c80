"""The one rate limiter.

The generic cell rate algorithm: a unit (a request, a token) takes ``interval_s`` of its limit, and
of each limit one time is kept, when the next request is due. A request moves it on by what it
takes, from ``burst_s`` before now at the earliest. :meth:`Pace.take` is that in memory, for an
API worker that cannot write to the database; :class:`LimitTable` is the same as one statement, for
what all processes share: the provider's limits (``embedding/sql/limits``) and those of the API's
keys (``api/sql/keys``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import LiteralString

from psycopg import sql


@dataclass(frozen=True)
class Pace:
    """How fast one limit may be used.

    :param interval_s: seconds that one unit (request or token) takes of the limit.
    :param burst_s: how far behind the clock an idle limit may lag, in seconds: what may go at once.
    """

    interval_s: float
    burst_s: float

    def take(self, due: float, now: float) -> tuple[float, float]:
        """Take one unit: the seconds to wait, at most 0 where it may go, and when the next is due.

        :param due: as it was kept; minus infinity for a limit that was never used.
        """
        due = max(due, now - self.burst_s)
        return due - now, due + self.interval_s


@dataclass(frozen=True)
class LimitTable:
    """A table with a row per key and a column of timestamps per limit.

    :param refuses: a request that comes too early is refused and not counted, and the columns hold
        the theoretical arrival time: a burst after the next request is due. Otherwise each request
        is counted and waits for its time, and the columns hold when the next one is due.
    :param also: another column that :meth:`taking` returns.
    """

    name: str
    key: str
    columns: tuple[str, ...]
    refuses: bool = False
    also: str | None = None

    @cached_property
    def taking(self) -> bytes:
        """Take one request: the seconds that it waits, negative where it came late enough.

        No row where it is refused. By primary key.
        """
        allowed = sql.SQL("{early} <= INTERVAL '0'").format(early=self._early("l.{column}"))
        return (
            sql.SQL(
                """
            INSERT INTO {table} AS l ({key}, {columns}) VALUES (%(key)s, {first})
            ON CONFLICT ({key}) DO UPDATE SET {next} WHERE {allowed}
            RETURNING extract(epoch FROM {early})::float8 {also}
            """
            )
            .format(
                table=sql.Identifier(self.name),
                key=sql.Identifier(self.key),
                columns=self._each("{column}"),
                first=self._each("clock_timestamp() - {lag} + {taken}"),
                next=self._each(
                    "{column} = greatest(l.{column}, clock_timestamp() - {lag}) + {taken}"
                ),
                allowed=allowed if self.refuses else sql.SQL("TRUE"),
                early=self._early("l.{column} - {taken}"),
                also=sql.SQL(", {}").format(sql.Identifier(self.also))
                if self.also
                else sql.SQL(""),
            )
            .as_bytes(None)
        )

    @cached_property
    def waiting(self) -> bytes:
        """The seconds that a request which was refused has to wait. By primary key."""
        return (
            sql.SQL(
                "SELECT extract(epoch FROM {early})::float8 FROM {table} AS l WHERE {key} = %(key)s"
            )
            .format(
                early=self._early("l.{column}"),
                table=sql.Identifier(self.name),
                key=sql.Identifier(self.key),
            )
            .as_bytes(None)
        )

    def values(self, key: str, *takes: tuple[Pace, int]) -> dict[str, object]:
        """Values of the statements.

        :param takes: for each column, its pace and how many units the request takes.
        """
        values: dict[str, object] = {"key": key}
        for column, (each, units) in zip(self.columns, takes, strict=True):
            burst = timedelta(seconds=each.burst_s)
            values[f"{column}_taken"] = timedelta(seconds=each.interval_s * units)
            values[f"{column}_lag"] = timedelta() if self.refuses else burst
            values[f"{column}_lead"] = burst if self.refuses else timedelta()
        return values

    def _early(self, due: LiteralString) -> sql.Composed:
        """How long a request that is due by each of the limits has to wait."""
        return sql.SQL("greatest({dues}) - clock_timestamp()").format(
            dues=self._each(due + " - {lead}")
        )

    def _each(self, template: LiteralString) -> sql.Composed:
        return sql.SQL(", ").join(
            sql.SQL(template).format(
                column=sql.Identifier(column),
                lag=sql.Placeholder(f"{column}_lag"),
                lead=sql.Placeholder(f"{column}_lead"),
                taken=sql.Placeholder(f"{column}_taken"),
            )
            for column in self.columns
        )


def pace(per_minute: int, *, largest: int = 1) -> Pace:
    """A pace that never lets more than ``per_minute`` units through in any 60 seconds.

    At most ``60/interval + burst`` units fit into a minute, and with them the last request, which
    is let go before its own units are counted; a twentieth of the limit is kept for the burst.

    :param largest: most units that one request takes; one that takes more oversteps by the rest.
    """
    if per_minute < 3:
        return Pace(60.0 / per_minute, 0.0)
    burst = 0.05 * per_minute
    interval = 60.0 / (per_minute - burst - largest)
    return Pace(interval, burst * interval)
