"""The one rate limiter, and the provider's limits, which every process on every host shares.

The generic cell rate algorithm: a unit (a request, a token) takes ``interval_s`` of its limit, and
of each limit one time is kept, when the next request is due. A request moves it on by what it
takes, from ``burst_s`` before now at the earliest. :meth:`Pace.take` is that in memory, for an
API worker that cannot write to the database; :class:`LimitTable` is the same as one statement, for
what all processes share: the provider's limits here, those of the API's keys in ``api/sql/keys``.

A key of the provider that was told to rest is left alone by all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import LiteralString

from psycopg import sql

from rag_assets.postgres.database import AsyncConnection


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

    def taking(self) -> sql.Composed:
        """Take one request: the seconds that it waits, negative where it came late enough.

        No row where it is refused. By primary key.
        """
        allowed = sql.SQL("{early} <= INTERVAL '0'").format(early=self._early("l.{column}"))
        return sql.SQL(
            """
            INSERT INTO {table} AS l ({key}, {columns}) VALUES (%(key)s, {first})
            ON CONFLICT ({key}) DO UPDATE SET {next} WHERE {allowed}
            RETURNING extract(epoch FROM {early})::float8 {also}
            """
        ).format(
            table=sql.Identifier(self.name),
            key=sql.Identifier(self.key),
            columns=self._each("{column}"),
            first=self._each("clock_timestamp() - {lag} + {taken}"),
            next=self._each("{column} = greatest(l.{column}, clock_timestamp() - {lag}) + {taken}"),
            allowed=allowed if self.refuses else sql.SQL("TRUE"),
            early=self._early("l.{column} - {taken}"),
            also=sql.SQL(", {}").format(sql.Identifier(self.also)) if self.also else sql.SQL(""),
        )

    def waiting(self) -> sql.Composed:
        """The seconds that a request which was refused has to wait. By primary key."""
        return sql.SQL(
            "SELECT extract(epoch FROM {early})::float8 FROM {table} AS l WHERE {key} = %(key)s"
        ).format(
            early=self._early("l.{column}"),
            table=sql.Identifier(self.name),
            key=sql.Identifier(self.key),
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


_LIMITS = LimitTable("provider_limits", "endpoint", ("requests_at", "tokens_at"), also="share")


@dataclass(frozen=True)
class Slot:
    """A place in the queue for the provider.

    :param wait_s: seconds to wait before the request is sent; 0 when it may go now.
    :param share: of batch size and concurrency that may be used, from 0 to 1.
    """

    wait_s: float
    share: float


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


async def take_slot(
    connection: AsyncConnection, endpoint: str, *, requests: Pace, tokens: Pace, cost_tokens: int
) -> Slot:
    """Reserve the next slot for one request of ``cost_tokens`` tokens. By primary key."""
    cursor = await connection.execute(
        _LIMITS.taking(), _LIMITS.values(endpoint, (requests, 1), (tokens, cost_tokens))
    )
    row = await cursor.fetchone()
    return Slot(max(0.0, float(row[0])), float(row[1])) if row else Slot(0.0, 1.0)


async def share_of(connection: AsyncConnection, endpoint: str) -> float:
    """The share that may be used now. By primary key."""
    cursor = await connection.execute(
        "SELECT share FROM provider_limits WHERE endpoint = %s", (endpoint,)
    )
    row = await cursor.fetchone()
    return float(row[0]) if row else 1.0


async def resting_keys(
    connection: AsyncConnection, endpoint: str, fingerprints: Sequence[str]
) -> dict[str, float]:
    """Seconds that each of these keys still rests, for those that do; by primary key."""
    cursor = await connection.execute(
        """
        SELECT key_fingerprint, extract(epoch FROM resting_until - clock_timestamp())::float8
          FROM provider_keys
         WHERE endpoint = %s AND key_fingerprint = ANY(%s) AND resting_until > clock_timestamp()
        """,
        (endpoint, list(fingerprints)),
    )
    return dict(await cursor.fetchall())


async def rest_key(
    connection: AsyncConnection, endpoint: str, fingerprint: str, seconds: float
) -> None:
    """Let a key rest, for every process."""
    await connection.execute(
        """
        INSERT INTO provider_keys AS k (endpoint, key_fingerprint, resting_until)
        VALUES (%s, %s, clock_timestamp() + %s)
        ON CONFLICT (endpoint, key_fingerprint) DO UPDATE
           SET resting_until = greatest(k.resting_until, EXCLUDED.resting_until)
        """,
        (endpoint, fingerprint, timedelta(seconds=seconds)),
    )


async def mark_out_of_quota(connection: AsyncConnection, endpoint: str, fingerprint: str) -> None:
    """Note when a key was last refused for want of quota, for people to see."""
    await connection.execute(
        """
        INSERT INTO provider_keys (endpoint, key_fingerprint, out_of_quota_at)
        VALUES (%s, %s, now())
        ON CONFLICT (endpoint, key_fingerprint) DO UPDATE SET out_of_quota_at = now()
        """,
        (endpoint, fingerprint),
    )
