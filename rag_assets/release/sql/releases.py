"""Write and list releases. One is active; earlier ones can be brought back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from rag_assets.postgres.database import Connection, one
from rag_assets.vectors.sql.code_sets import use_columns
from rag_assets.vectors.sql.indexes import LIVE_NAMES, live_indexes, own_name
from rag_assets.vectors.sql.served import CHANNEL, Release, ReleasedSpace, releases_by_id
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.vectors.sql.tables import CORPORA, Corpus, VectorTable


def release_by_id(connection: Connection, release_id: int) -> Release | None:
    """The release with this number, if there is one."""
    return next(iter(releases_by_id(connection, [release_id])), None)


def last_releases(connection: Connection, *, limit: int = 20) -> tuple[Release, ...]:
    """The latest releases and refusals, newest first. Uses the primary key."""
    rows = connection.execute(
        "SELECT release_id FROM releases ORDER BY release_id DESC LIMIT %s", (limit,)
    ).fetchall()
    return releases_by_id(connection, [row[0] for row in rows])


def last_rolled_back(connection: Connection) -> int | None:
    """The release rolled back last, if no new one was written and activated since."""
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
    """Write a candidate, or a refusal if there are reasons against it; return its number."""
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


def record_texts(
    connection: Connection,
    release_id: int,
    *,
    weight: float | None = None,
    depth: int | None = None,
    weights: Mapping[str, float] | None = None,
) -> None:
    """Count the words of what a release serves, unless that was done.

    :param weight: what the words count beside the vectors; ``None`` for the default.
    :param depth: how many rows of each are merged; ``None`` for the default.
    :param weights: of passages in a language, instead of the default; ``None`` leaves them.
    """
    connection.execute(
        "SELECT record_release_texts(%s, %s::float8, %s::integer)", (release_id, weight, depth)
    )
    if weights is not None:
        connection.execute(
            "UPDATE release_texts SET weights = %s WHERE release_id = %s",
            (Jsonb(dict(weights)), release_id),
        )


def activate_release(
    connection: Connection, release_id: int, *, rolling_back: bool = False
) -> int | None:
    """Activate a release in the connection's transaction; return the one active before.

    :param rolling_back: mark the one active before as rolled back, and keep the release's own
        predecessor, so that a further rollback is possible.
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


def name_live_indexes(connection: Connection, release: Release) -> bool:
    """Give each corpus' live index its well-known name; the one that had it gets its own back.

    Searches do not depend on the names, so a release never waits for this: it gives up after half
    a second without the locks. Returns true if all names are right.
    """
    named = [_name_live_index(connection, release, corpus) for corpus in CORPORA]
    return all(named)


def _name_live_index(connection: Connection, release: Release, corpus: Corpus) -> bool:
    space = release.space(corpus, "small")
    if space is None:
        return True
    name = LIVE_NAMES[corpus]
    holders = own_name(connection, name)
    table = VectorTable(corpus, space_by_id(connection, space.space_id, "small"))
    wanted = _live_name(connection, table, space.generation)
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
    """Point the view ``verse_embeddings`` at the released spaces; false if it is being read."""
    with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '500ms'")
        connection.execute("SELECT refresh_embedding_views()")
        return True
    return False


def _live_name(connection: Connection, table: VectorTable, generation: int | None) -> str | None:
    if generation is None:
        return None
    return next(
        (i.name for i in live_indexes(connection, table) if i.generation == generation), None
    )
