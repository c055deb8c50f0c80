"""Releases: what may be served. One is active; the earlier ones can be brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.code_sets import CodeUse, use_columns
from rag_assets.vectors.sql.generations import (
    LIVING_NAMES,
    Probes,
    live_indexes,
    own_name,
    recorded_search,
)
from rag_assets.vectors.sql.spaces import Role, space_by_id
from rag_assets.vectors.sql.tables import CORPORA, Corpus, VectorTable

CHANNEL = "rag_release"
"""PostgreSQL notifies it, with the release's number, when another release becomes active."""


@dataclass(frozen=True)
class ReleasedSpace:
    """One space of a release and how it is searched.

    :param generation: ``None`` where there is no index.
    :param codes: ``None`` where an index holds the vectors, or exact search serves.
    """

    corpus: Corpus
    role: Role
    space_id: int
    generation: int | None
    probes: Probes | None
    codes: CodeUse | None = None


@dataclass(frozen=True)
class Release:
    """One row, with its spaces.

    :param state: candidate, active, superseded, rolled_back or refused.
    :param previous_id: what a rollback of this one brings back.
    """

    release_id: int
    state: str
    versions: tuple[str, ...]
    reasons: tuple[str, ...]
    manifest: Mapping[str, Any]
    previous_id: int | None
    code_version: str
    run_id: str
    created_at: datetime
    activated_at: datetime | None
    ended_at: datetime | None
    spaces: tuple[ReleasedSpace, ...]

    def space(self, corpus: Corpus, role: Role) -> ReleasedSpace | None:
        """The space that plays a role for a corpus."""
        return next((s for s in self.spaces if (s.corpus, s.role) == (corpus, role)), None)


def active_release(connection: Connection) -> Release | None:
    """What is served now."""
    row = connection.execute("SELECT release_id FROM releases WHERE state = 'active'").fetchone()
    return release_by_id(connection, row[0]) if row else None


def release_by_id(connection: Connection, release_id: int) -> Release | None:
    """One release."""
    found = releases(connection, only=release_id)
    return found[0] if found else None


def releases(
    connection: Connection, *, limit: int = 20, only: int | None = None
) -> tuple[Release, ...]:
    """The last releases and refusals, the newest first. By the primary keys."""
    rows = fetch_all(
        connection,
        dict[str, Any],
        """
        SELECT release_id, state, versions, reasons, manifest, previous_id, code_version, run_id,
               created_at, activated_at, ended_at
          FROM releases WHERE %(only)s::int IS NULL OR release_id = %(only)s
         ORDER BY release_id DESC LIMIT %(limit)s
        """,
        {"only": only, "limit": limit},
    )
    spaces: dict[int, list[ReleasedSpace]] = {row["release_id"]: [] for row in rows}
    for space in fetch_all(
        connection,
        dict[str, Any],
        """
        SELECT release_id, corpus, role, space_id, generation, probes, filtered_probes, max_probes,
               exact_rows, code_set, candidates, filtered_candidates,
               one_scope_candidates, scan_rows
          FROM release_spaces WHERE release_id = ANY(%s) ORDER BY corpus, role DESC
        """,
        (list(spaces),),
    ):
        release_id = space.pop("release_id")
        spaces[release_id].append(ReleasedSpace(**recorded_search(space)))
    return tuple(_release(spaces=spaces[row["release_id"]], **row) for row in rows)


def _release(
    *, versions: list[str], reasons: list[str], spaces: list[ReleasedSpace], **fields: Any
) -> Release:
    return Release(versions=tuple(versions), reasons=tuple(reasons), spaces=tuple(spaces), **fields)


def rolled_back_lately(connection: Connection) -> int | None:
    """The release that was rolled back last, where no other was written and activated since."""
    row = connection.execute(
        """
        SELECT gone.release_id FROM releases AS gone JOIN releases AS active
               ON active.state = 'active' AND gone.ended_at > active.created_at
         WHERE gone.state = 'rolled_back' ORDER BY gone.ended_at DESC LIMIT 1
        """
    ).fetchone()
    return row[0] if row else None


def write_release(
    connection: Connection,
    *,
    versions: Sequence[str],
    spaces: Sequence[ReleasedSpace],
    manifest: Mapping[str, object],
    reasons: Sequence[str],
    code_version: str,
    run_id: str,
) -> int:
    """Write a candidate, or a refusal where there are reasons against it; its number."""
    (release_id,) = one(
        connection.execute(
            """
            INSERT INTO releases (state, versions, reasons, manifest, code_version, run_id)
            VALUES (%s, %s, %s, %s, %s, %s) RETURNING release_id
            """,
            (
                "refused" if reasons else "candidate",
                list(versions),
                list(reasons),
                Jsonb(dict(manifest)),
                code_version,
                run_id,
            ),
        )
    )
    for space in spaces:
        probes = space.probes
        connection.execute(
            """
            INSERT INTO release_spaces (release_id, corpus, role, space_id, generation, probes,
                                        filtered_probes, max_probes, exact_rows,
                                        code_set, candidates, filtered_candidates,
                                        one_scope_candidates, scan_rows)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                release_id,
                space.corpus,
                space.role,
                space.space_id,
                space.generation,
                probes.plain if probes else None,
                probes.filtered if probes else None,
                probes.limit if probes else None,
                probes.exact_rows if probes else None,
                *use_columns(space.codes).values(),
            ),
        )
    return int(release_id)


def activate_release(
    connection: Connection, release_id: int, *, rolling_back: bool = False
) -> int | None:
    """Make a release the active one, in the connection's transaction; the number of the one before.

    :param rolling_back: the one before is marked as such, and the way further back stays.
    """
    row = connection.execute(
        """
        UPDATE releases SET (state, ended_at) = (%s, now()) WHERE state = 'active'
        RETURNING release_id
        """,
        ("rolled_back" if rolling_back else "superseded",),
    ).fetchone()
    before = row[0] if row else None
    connection.execute(
        """
        UPDATE releases
           SET (state, activated_at, ended_at) = ('active', now(), NULL),
               previous_id = CASE WHEN %s THEN previous_id ELSE %s END
         WHERE release_id = %s
        """,
        (rolling_back, before, release_id),
    )
    connection.execute(
        """
        INSERT INTO embedding_roles AS r (role, space_id)
        SELECT DISTINCT ON (role) role, space_id FROM release_spaces WHERE release_id = %s
         ORDER BY role, corpus  -- the Bible's, where it has any
        ON CONFLICT (role) DO UPDATE SET space_id = EXCLUDED.space_id
        """,
        (release_id,),
    )
    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(release_id)))
    return before


def name_living_indexes(connection: Connection, release: Release) -> bool:
    """Give each corpus' index in force its well-known name, and the one that had it its own back.

    Searches do not go by names, so this never holds up a release: it gives up when it cannot have
    the locks at once. True when the names are where they belong.
    """
    named = [_name_living_index(connection, release, corpus) for corpus in CORPORA]
    return all(named)


def _name_living_index(connection: Connection, release: Release, corpus: Corpus) -> bool:
    space = release.space(corpus, "small")
    if space is None:
        return True
    name = LIVING_NAMES[corpus]
    holders = own_name(connection, name)
    table = VectorTable(corpus, space_by_id(connection, space.space_id, "small"))
    wanted = _living(connection, table, space.generation)
    if wanted == name:
        return True
    rename = sql.SQL("ALTER INDEX {} RENAME TO {}")
    with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '500ms'")
        if holders is not None:
            connection.execute(rename.format(sql.Identifier(name), sql.Identifier(holders)))
        if wanted is not None:
            connection.execute(rename.format(sql.Identifier(wanted), sql.Identifier(name)))
        return True
    return False


def refresh_views(connection: Connection) -> bool:
    """Point the view ``verse_embeddings`` at the released spaces; false when somebody reads it."""
    with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '500ms'")
        connection.execute("SELECT refresh_embedding_views()")
        return True
    return False


def _living(connection: Connection, table: VectorTable, generation: int | None) -> str | None:
    if generation is None:
        return None
    return next(
        (i.name for i in live_indexes(connection, table) if i.generation == generation), None
    )


def release_state(connection: Connection) -> tuple[object, ...]:
    """What changes whenever the release in force, or the policy of a version, does."""
    return one(
        connection.execute(
            """
            SELECT (SELECT release_id FROM releases WHERE state = 'active'),
                   (SELECT activated_at FROM releases WHERE state = 'active'),
                   (SELECT array_agg(version_code ORDER BY version_code) FROM bible_versions
                     WHERE enabled_for_rag AND ai_allowed)
            """
        )
    )


def listen(connection: Connection) -> None:
    """Hear of releases from now on. Not of a standby, where nobody can listen."""
    with suppress(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))


def wait_for_notice(connection: Connection, seconds: float) -> None:
    """Wait for another release to become active, or for so long. The connection listens."""
    for _ in connection.notifies(timeout=seconds, stop_after=1):
        return
