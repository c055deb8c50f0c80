"""What is known about everything that a release would serve, read in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rag_assets.index.maintain import subject_of
from rag_assets.index.tune import target_of
from rag_assets.settings import Settings
from rag_assets.store import generations
from rag_assets.store.bible import stored_versions
from rag_assets.store.check_results import CheckResult, check_results
from rag_assets.store.database import Connection, one
from rag_assets.store.generations import Generation, Probes, RecordedDecision
from rag_assets.store.releases import Release, active_release, rolled_back_lately
from rag_assets.store.spaces import ROLES, Role, find_space
from rag_assets.store.vector_tables import (
    VectorTable,
    bible_table,
    revision,
    rows_by_scope,
    scope_revisions,
)


@dataclass(frozen=True)
class SpaceEvidence:
    """One version's vectors in one space.

    :param revision: of the data now; ``None`` when nothing was ever written.
    :param results: by check, its last result.
    """

    rows: int
    revision: int | None
    results: Mapping[str, CheckResult]


@dataclass(frozen=True)
class VersionEvidence:
    """One version: what policy says of it, and its vectors by role.

    :param withheld: why policy keeps it from being served; empty when it may be.
    """

    code: str
    verses: int
    withheld: str
    spaces: Mapping[Role, SpaceEvidence]


@dataclass(frozen=True)
class IndexEvidence:
    """The decision on the small space's index, and the checks of what was decided.

    :param generation: as decided, when its index is there and valid.
    :param probes: as a search would take them now, PG_IVFFLAT_PROBES considered.
    """

    revision: int
    decision: RecordedDecision | None
    generation: Generation | None
    probes: Probes | None
    results: Mapping[str, CheckResult]


@dataclass(frozen=True)
class Evidence:
    """Everything that the gate judges by.

    :param tables: the tables of the spaces that the settings name, by role.
    :param rolled_back: the release that was rolled back and after which none was let through.
    """

    at: datetime
    spaces: Mapping[Role, str]
    tables: Mapping[Role, VectorTable]
    versions: tuple[VersionEvidence, ...]
    index: IndexEvidence | None
    active: Release | None
    rolled_back: int | None


def gather(connection: Connection, settings: Settings) -> Evidence:
    """Read the evidence, in the connection's transaction (repeatable read)."""
    found = {role: find_space(connection, settings, role) for role in ROLES}
    tables: dict[Role, VectorTable] = {
        role: bible_table(space) for role, space in found.items() if space is not None
    }
    (now,) = one(connection.execute("SELECT now()"))
    return Evidence(
        at=now,
        spaces={role: str(table.space.spec) for role, table in tables.items()},
        tables=tables,
        versions=_versions(connection, settings, tables),
        index=_index(connection, settings, tables["small"]) if "small" in tables else None,
        active=active_release(connection),
        rolled_back=rolled_back_lately(connection),
    )


def _versions(
    connection: Connection, settings: Settings, tables: Mapping[Role, VectorTable]
) -> tuple[VersionEvidence, ...]:
    allowed = settings.allowed_versions()
    rows = {role: rows_by_scope(connection, table) for role, table in tables.items()}
    seen = {role: scope_revisions(connection, table) for role, table in tables.items()}
    results = {role: check_results(connection, table) for role, table in tables.items()}
    versions = []
    for stored in stored_versions(connection):
        if not stored.enabled_for_rag:
            withheld = "enabled_for_rag is false"
        elif not stored.ai_allowed:
            withheld = "ai_allowed is false"
        elif allowed and stored.code not in allowed:
            withheld = "RAG_ALLOWED_VERSIONS leaves it out"
        else:
            withheld = ""
        spaces: dict[Role, SpaceEvidence] = {
            role: SpaceEvidence(
                rows=rows[role].get(stored.code, 0),
                revision=seen[role].get(stored.code),
                results={r.check: r for r in results[role] if r.subject == stored.code},
            )
            for role in tables
        }
        versions.append(VersionEvidence(stored.code, stored.verses, withheld, spaces))
    return tuple(versions)


def _index(connection: Connection, settings: Settings, table: VectorTable) -> IndexEvidence:
    decision = generations.last_decision(connection, table)
    decided = decision.generation if decision else None
    ready = {made.number: made for made in generations.ready_generations(connection, table)}
    generation = ready.get(decided) if decided is not None else None
    return IndexEvidence(
        revision=revision(connection, table).number,
        decision=decision,
        generation=generation,
        probes=target_of(table, {}, generation, settings.pg_ivfflat_probes).probes,
        results={
            result.check: result
            for result in check_results(connection, table)
            if decision is not None and result.subject == subject_of(decided)
        },
    )
