"""Read what is served: the active release, its spaces, and how each is searched.

Releases are written by :mod:`rag_assets.release.sql.releases`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from rag_assets.postgres.database import Connection, fetch_all, one
from rag_assets.vectors.sql.code_sets import CodeUse
from rag_assets.vectors.sql.indexes import Probes, recorded_search
from rag_assets.vectors.sql.spaces import Role
from rag_assets.vectors.sql.tables import DOCUMENTS, Corpus

CHANNEL = "rag_release"
"""Notified, with the release's number, when another release becomes active."""


@dataclass(frozen=True)
class ReleasedSpace:
    """One space of a release and how it is searched.

    :param generation: ``None`` if there is no index.
    :param codes: ``None`` if an index holds the vectors, or search is exact.
    """

    corpus: Corpus
    role: Role
    space_id: int
    generation: int | None
    probes: Probes | None
    codes: CodeUse | None = None

    @property
    def searched(self) -> str:
        """By what it is searched: an index generation, a code set, or every vector."""
        if self.generation is not None:
            return f"index generation {self.generation}"
        return f"code set {self.codes.code_set}" if self.codes else "exactly"


@dataclass(frozen=True)
class ReleasedText:
    """How a release searches the words of a corpus.

    :param statistics: the number of its counts of words; ``None`` if they were not made.
    :param weight: what the words count beside the vectors; ``None`` for the default.
    :param depth: how many rows of each are merged; ``None`` for the default.
    :param weights: measured weights of passages in a language, which replace the default.
    """

    statistics: int | None = None
    weight: float | None = None
    depth: int | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


NO_TEXT = ReleasedText()
"""Of a release that was not asked: all words weigh the same."""


@dataclass(frozen=True)
class Release:
    """One row, with its spaces.

    :param state: candidate, active, superseded, rolled_back or refused.
    :param previous_id: the release that rolling this one back restores.
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

    @property
    def corpora(self) -> tuple[str, ...]:
        """The document corpora that it serves; a release of before there were several: one."""
        if self.space("documents", "small") is None:
            return ()
        return tuple(self.manifest["content"].get("corpora", (DOCUMENTS,)))

    def space(self, corpus: Corpus, role: Role) -> ReleasedSpace | None:
        """The space with this role for a corpus."""
        return next((s for s in self.spaces if (s.corpus, s.role) == (corpus, role)), None)


def active_release(connection: Connection) -> Release | None:
    """The release that is served now."""
    row = connection.execute("SELECT release_id FROM releases WHERE state = 'active'").fetchone()
    return next(iter(releases_by_id(connection, row)), None) if row else None


def releases_by_id(connection: Connection, release_ids: Sequence[int]) -> tuple[Release, ...]:
    """These releases or refusals, newest first. Uses the primary keys."""
    rows = fetch_all(
        connection,
        dict[str, Any],
        """
        SELECT release_id, state, versions, reasons, manifest, previous_id, code_version, run_id,
               created_at, activated_at, ended_at
          FROM releases WHERE release_id = ANY(%s) ORDER BY release_id DESC
        """,
        (list(release_ids),),
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


def released_texts(connection: Connection, release_id: int) -> Mapping[Corpus, ReleasedText]:
    """How the words of each corpus are searched. Uses the primary key."""
    rows = connection.execute(
        "SELECT corpus, statistics, weight, depth, weights FROM release_texts"
        " WHERE release_id = %s",
        (release_id,),
    ).fetchall()
    return {corpus: ReleasedText(*others) for corpus, *others in rows}


def _release(
    *, versions: list[str], reasons: list[str], spaces: list[ReleasedSpace], **fields: Any
) -> Release:
    return Release(versions=tuple(versions), reasons=tuple(reasons), spaces=tuple(spaces), **fields)


def pinned_generations(connection: Connection, *, kept: int) -> frozenset[int]:
    """Generations that the active release or one of its ``kept`` predecessors searches."""
    return _pinned(connection, "generation", kept)


def pinned_code_sets(connection: Connection, *, kept: int) -> frozenset[int]:
    """Code sets that the active release or one of its ``kept`` predecessors searches."""
    return _pinned(connection, "code_set", kept)


def _pinned(connection: Connection, column: str, kept: int) -> frozenset[int]:
    rows = connection.execute(
        sql.SQL(
            """
            WITH RECURSIVE line AS (
                SELECT release_id, previous_id, 0 AS depth FROM releases WHERE state = 'active'
                UNION ALL
                SELECT r.release_id, r.previous_id, depth + 1
                  FROM releases r JOIN line ON r.release_id = line.previous_id WHERE depth < %s
            )
            SELECT {column} FROM release_spaces JOIN line USING (release_id)
             WHERE {column} IS NOT NULL
            """
        ).format(column=sql.Identifier(column)),
        (kept,),
    ).fetchall()
    return frozenset(row[0] for row in rows)


def release_state(connection: Connection) -> tuple[object, ...]:
    """A value that changes whenever the active release, a version's policy or the corpora do."""
    return one(
        connection.execute(
            """
            SELECT (SELECT release_id FROM releases WHERE state = 'active'),
                   (SELECT activated_at FROM releases WHERE state = 'active'),
                   (SELECT array_agg(version_code ORDER BY version_code) FROM bible_versions
                     WHERE enabled_for_rag AND ai_allowed),
                   (SELECT array_agg(corpus ORDER BY corpus) FROM document_corpora)
            """
        )
    )


def listen(connection: Connection) -> None:
    """Listen for releases, except on a standby, where PostgreSQL does not allow it."""
    with suppress(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))


def wait_for_notice(connection: Connection, seconds: float) -> None:
    """Wait up to ``seconds`` for another release to become active. The connection listens."""
    for _ in connection.notifies(timeout=seconds, stop_after=1):
        return
