"""The evidence on everything that a release would serve, read in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from rag_assets.bible.quality import version_faults
from rag_assets.bible.sql.embeddings import unverified_sample
from rag_assets.bible.sql.verses import StoredVersion, stored_versions
from rag_assets.documents.quality import documents_faults
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.quality import unverified_by_document
from rag_assets.index.measuring import target_of
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import Generation, RecordedDecision, index_subject
from rag_assets.postgres.database import Connection, one
from rag_assets.release.sql.releases import last_rolled_back
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.check_results import CheckResult, check_results
from rag_assets.vectors.sql.code_sets import CodeUse, code_set_by_number, count_uncoded
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.served import Release, active_release
from rag_assets.vectors.sql.spaces import ROLES, Role, Space, find_space
from rag_assets.vectors.sql.tables import (
    VectorTable,
    bible_table,
    documents_table,
    has_rows,
    revision,
    rows_by_scope,
    scope_revisions,
    unverified_by_scope,
)

_EXAMPLES = 5


@dataclass(frozen=True)
class Unverified:
    """Vectors that no embedding run wrote or verified, with the first verses or documents."""

    rows: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class SpaceEvidence:
    """The vectors of one version, or of one document corpus, in one space.

    :param revision: current revision of the data; ``None`` if nothing was ever written.
    :param results: the last result of each check.
    :param faults: by check, what is wrong with the current data if no check has seen this revision.
    """

    rows: int
    revision: int | None
    results: Mapping[str, CheckResult]
    unverified: Unverified = Unverified()
    faults: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionEvidence:
    """One version: whether policy allows it, and its vectors by role.

    :param withheld: why policy does not allow it to be served; empty if it does.
    """

    code: str
    verses: int
    withheld: str
    spaces: Mapping[Role, SpaceEvidence]


@dataclass(frozen=True)
class Drift:
    """How much a constantly changing table has changed since the decision on its index.

    :param rows: current number of rows.
    :param changed: rows added, changed or removed since the build; 0 without an index.
    :param share: share of the rows at build time that must change before the index is rebuilt.
    :param min_rows: tables with fewer rows use exact search.
    """

    rows: int
    changed: int
    share: float
    min_rows: int


@dataclass(frozen=True)
class IndexEvidence:
    """The decision on the small space's index, and the results of its checks.

    :param generation: the generation decided on; ``None`` if its index is missing or invalid.
    :param probes: the probes that a search would use now, including PG_IVFFLAT_PROBES.
    :param codes: how a search would use codes; ``None`` if it would not.
    :param drift: for documents; ``None`` for the Bible, where any change makes evidence stale.
    :param uncoded: current number of vectors without a code, which a search by codes cannot find.
    """

    revision: int
    decision: RecordedDecision | None
    generation: Generation | None
    probes: Probes | None
    results: Mapping[str, CheckResult]
    drift: Drift | None = None
    codes: CodeUse | None = None
    uncoded: int = 0


@dataclass(frozen=True)
class DocumentsEvidence:
    """The document corpora, each of which is released like one version, and their one index.

    :param corpora: their vectors by role.
    :param tables: their tables in the spaces of the current settings, by role.
    """

    corpora: Mapping[str, Mapping[Role, SpaceEvidence]]
    tables: Mapping[Role, VectorTable]
    index: IndexEvidence


@dataclass(frozen=True)
class Evidence:
    """Everything that the gate's verdict is based on.

    :param tables: the tables of the spaces of the current settings, by role.
    :param rolled_back: the last release rolled back, if none has passed the gate since.
    :param documents: ``None`` if there are none and none are served.
    """

    at: datetime
    spaces: Mapping[Role, str]
    tables: Mapping[Role, VectorTable]
    versions: tuple[VersionEvidence, ...]
    index: IndexEvidence | None
    active: Release | None
    rolled_back: int | None
    documents: DocumentsEvidence | None = None

    def unverified_rows(self) -> dict[str, int]:
        """Count vectors that no embedding run wrote, in all spaces, by version or documents."""
        spaces = {version.code: version.spaces for version in self.versions}
        if self.documents is not None:
            spaces |= self.documents.corpora
        rows = {
            name: sum(space.unverified.rows for space in found.values())
            for name, found in spaces.items()
        }
        return {name: count for name, count in rows.items() if count}


def gather_evidence(connection: Connection, settings: Settings) -> Evidence:
    """Read the evidence, in the connection's transaction (repeatable read)."""
    found = {role: find_space(connection, settings, role) for role in ROLES}
    tables: dict[Role, VectorTable] = {
        role: bible_table(space) for role, space in found.items() if space is not None
    }
    active = active_release(connection)
    (now,) = one(connection.execute("SELECT now()"))
    return Evidence(
        at=now,
        spaces={role: str(table.space.spec) for role, table in tables.items()},
        tables=tables,
        versions=_versions(connection, settings, tables),
        index=_index(connection, settings, tables["small"]) if "small" in tables else None,
        active=active,
        rolled_back=last_rolled_back(connection),
        documents=_documents(connection, settings, found, active),
    )


def _versions(
    connection: Connection, settings: Settings, tables: Mapping[Role, VectorTable]
) -> tuple[VersionEvidence, ...]:
    allowed = settings.allowed_versions()
    rows = {role: rows_by_scope(connection, table) for role, table in tables.items()}
    seen = {role: scope_revisions(connection, table) for role, table in tables.items()}
    results = {role: check_results(connection, table) for role, table in tables.items()}
    unverified = {role: unverified_by_scope(connection, table) for role, table in tables.items()}
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
        spaces: dict[Role, SpaceEvidence] = {}
        for role, table in tables.items():
            known = SpaceEvidence(
                rows=rows[role].get(stored.code, 0),
                revision=seen[role].get(stored.code),
                results={r.check: r for r in results[role] if r.subject == stored.code},
            )
            marked = unverified[role].get(stored.code, 0)
            spaces[role] = replace(
                known,
                unverified=_unverified(connection, table.space, stored.code, marked),
                faults={} if withheld else _faults(connection, table, stored, known),
            )
        versions.append(VersionEvidence(stored.code, stored.verses, withheld, spaces))
    return tuple(versions)


def _unverified(connection: Connection, space: Space, code: str, rows: int) -> Unverified:
    if not rows:
        return Unverified()
    sample = unverified_sample(connection, space, code, _EXAMPLES)
    return Unverified(rows, tuple(verse.reference for verse in sample))


def _faults(
    connection: Connection, table: VectorTable, stored: StoredVersion, known: SpaceEvidence
) -> dict[str, str]:
    """Find what is wrong with a version's vectors if no check has seen their current revision.

    Counts from the tables, in one pass over the version's rows: the checks' results alone would
    show that the data changed, but not that vectors are missing, nor which ones.
    """
    seen = all(
        check in known.results and known.results[check].revision == (known.revision or 0)
        for check in QUALITY_CHECKS
    )
    if not known.rows or (seen and known.rows == stored.verses):
        return {}
    return version_faults(connection, table, stored.code)


def _documents(
    connection: Connection,
    settings: Settings,
    found: Mapping[Role, Space | None],
    active: Release | None,
) -> DocumentsEvidence | None:
    tables: dict[Role, VectorTable] = {
        role: documents_table(space) for role, space in found.items() if space is not None
    }
    small = tables.get("small")
    served = active is not None and active.space("documents", "small") is not None
    if small is None or not (served or has_rows(connection, small)):
        return None
    corpora: dict[str, dict[Role, SpaceEvidence]] = {
        corpus: {} for corpus in document_corpora(connection)
    }
    for role, table in tables.items():
        results = check_results(connection, table)
        rows, revisions = rows_by_scope(connection, table), scope_revisions(connection, table)
        for corpus, spaces in corpora.items():
            known = SpaceEvidence(
                rows=rows.get(corpus, 0),
                revision=revisions.get(corpus),
                results={r.check: r for r in results if r.subject == corpus},
            )
            spaces[role] = _documents_now(connection, table, corpus, known)
    index = _index(connection, settings, small)
    at_build = index.generation.changed_at_build if index.generation else None
    changed = revision(connection, small).rows_changed
    drift = Drift(
        rows=sum(spaces["small"].rows for spaces in corpora.values()),
        changed=0 if at_build is None else changed - at_build,
        share=settings.rag_index_rebuild_share,
        min_rows=settings.rag_index_min_rows,
    )
    return DocumentsEvidence(corpora, tables, replace(index, drift=drift))


def _documents_now(
    connection: Connection, table: VectorTable, corpus: str, known: SpaceEvidence
) -> SpaceEvidence:
    """Add what is missing or unverified now: no check has seen the documents' latest changes."""
    if not known.rows:
        return known
    marked = unverified_by_document(connection, table, corpus)
    return replace(
        known,
        unverified=Unverified(sum(marked.values()), tuple(marked)[:_EXAMPLES]),
        faults=documents_faults(connection, table, corpus),
    )


def _index(connection: Connection, settings: Settings, table: VectorTable) -> IndexEvidence:
    decision = generations.last_decision(connection, table)
    decided = decision.generation if decision else None
    ready = {made.number: made for made in generations.ready_generations(connection, table)}
    generation = ready.get(decided) if decided is not None else None
    scanned = decision.codes if decision else None
    codes = generation.codes if generation else scanned
    return IndexEvidence(
        revision=revision(connection, table).number,
        decision=decision,
        generation=generation,
        probes=target_of(table, {}, generation, settings.pg_ivfflat_probes).probes,
        results={
            result.check: result
            for result in check_results(connection, table)
            if decision is not None and result.subject == index_subject(decided, codes)
        },
        codes=codes,
        uncoded=_uncoded(connection, table, codes),
    )


def _uncoded(connection: Connection, table: VectorTable, use: CodeUse | None) -> int:
    """Count each time: codes that another client deletes do not change any revision."""
    code_set = code_set_by_number(connection, table, use.code_set) if use else None
    return count_uncoded(connection, table, code_set) if code_set else 0
