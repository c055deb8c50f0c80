"""The only rate limiter: the generic cell rate algorithm (GCRA).

A unit (a request or a token) takes ``interval_s`` of its limit, and each limit stores one time:
when the next request is due. A request advances this time by what it takes, starting no earlier
than ``burst_s`` before now. :meth:`Pace.take` does this in memory, for an API worker that cannot
write to the database. :class:`LimitTable` does it in one statement, for limits shared by all
processes: the provider's (``embedding/sql/limits``) and the API keys' (``api/sql/keys``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import LiteralString

from psycopg import sql


@dataclass(frozen=True)
class Pace:
    """The pace of one limit.

    :param interval_s: seconds of the limit that one unit (request or token) takes.
    :param burst_s: how far behind the clock an idle limit may lag, in seconds, which sets the
        size of a burst.
    """

    interval_s: float
    burst_s: float

    def take(self, due: float, now: float) -> tuple[float, float]:
        """Take one unit; return the seconds to wait, at most 0 if it may go, and the next due time.

        :param due: the stored due time; minus infinity for a limit that was never used.
        """
        due = max(due, now - self.burst_s)
        return due - now, due + self.interval_s


@dataclass(frozen=True)
class LimitTable:
    """A table with a row per key and a column of timestamps per limit.

    :param refuses: refuse and do not count a request that comes too early; the columns hold the
        theoretical arrival time, one burst after the next request is due. Otherwise each request
        is counted and waits for its time, and the columns hold when the next one is due.
    :param also: another column that :attr:`taking` returns.
    """

    name: str
    key: str
    columns: tuple[str, ...]
    refuses: bool = False
    also: str | None = None

    @cached_property
    def taking(self) -> bytes:
        """Take one request; returns the seconds to wait, negative if it came late enough.

        Returns no row if it is refused. Uses the primary key.
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
        """Select the seconds that a refused request has to wait. Uses the primary key."""
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
        """The parameters of the statements.

        :param takes: for each column, its pace and the number of units that the request takes.
        """
        values: dict[str, object] = {"key": key}
        for column, (each, units) in zip(self.columns, takes, strict=True):
            burst = timedelta(seconds=each.burst_s)
            values[f"{column}_taken"] = timedelta(seconds=each.interval_s * units)
            values[f"{column}_lag"] = timedelta() if self.refuses else burst
            values[f"{column}_lead"] = burst if self.refuses else timedelta()
        return values

    def _early(self, due: LiteralString) -> sql.Composed:
        """How long a request has to wait until it is due by all limits."""
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
    """A pace that never allows more than ``per_minute`` units in any 60 seconds.

    A minute holds at most ``60/interval + burst`` units plus the last request, which is allowed
    before its own units are counted. A twentieth of the limit is reserved for the burst.

    :param largest: maximum units of one request; a larger one exceeds the limit by the difference.
    """
    if per_minute < 3:
        return Pace(60.0 / per_minute, 0.0)
    burst = 0.05 * per_minute
    interval = 60.0 / (per_minute - burst - largest)
    return Pace(interval, burst * interval)
