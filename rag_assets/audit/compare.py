"""Compare sources, texts, vectors, codes and the release. Nothing is changed.

Partitions are compared where Dagster is: :mod:`rag_assets.defs.operations.partition_status`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from rag_assets.audit.model import KINDS, SHOWN, AuditReport, Difference, Findings, in_order, others
from rag_assets.audit.sampling import SUSPECT, Sampled, compare_sample
from rag_assets.audit.sources import compare_files, compare_sources
from rag_assets.audit.sql.codes import wrong_codes
from rag_assets.audit.sql.rows import Group, compare_range, ranges, tables_of_other_models
from rag_assets.audit.sql.texts import FoundRows, duplicates, lost_guarantees, wrong_hashes
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.release.sql.released_rows import released_rows
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.code_sets import code_sets
from rag_assets.vectors.sql.served import Release, active_release
from rag_assets.vectors.sql.spaces import ROLES, Space, find_space, space_by_id
from rag_assets.vectors.sql.tables import CORPORA, DOCUMENTS, Corpus, VectorTable
from rag_assets.visible import count

VersionState = Literal["complete", "partial", "none"]
Partitions = Callable[[Mapping[str, VersionState]], Sequence[Difference]]
"""Compares Dagster's partitions with the data: given how far each stored version is embedded."""


@dataclass(frozen=True)
class Request:
    """What one audit is to do.

    :param sample: texts of each version, and of the documents, that are embedded again.
    :param read_versions: whether to read the versions' files again.
    :param keep_answers: keep answers that differ from the stored vectors, for a repair.
    """

    sample: int
    read_versions: bool = True
    keep_answers: bool = False


def audit(
    database: Database,
    settings: Settings,
    request: Request,
    *,
    run_id: str,
    partitions: Partitions | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Compare everything that is stored, in parts that fit into memory.

    :param partitions: ``None`` if Dagster's state is not to be compared.
    """
    progress = progress or Silent()
    found = Findings()
    with database.connect(autocommit=True) as session:
        session.execute("SET jit = off")  # compiling costs more than these joins
        release = active_release(session)
        tables = audited_tables(session, settings, release)
        _texts(session, tables, found)
        counted = {table: _vectors(session, table, release, found, progress) for table in tables}
        for table in tables:
            _codes(session, table, found, progress)
        sampled = _sample(database, session, settings, counted, found, request, run_id, progress)
        if release is not None:
            _released(session, release, counted, found)
        if request.read_versions:
            compare_sources(session, settings, found, progress)
        compare_files(session, settings, found)
        states = _states(session, counted, found)
    if partitions is not None:
        found.differences += partitions(states)
    return AuditReport(
        differences=in_order(found.differences),
        rows=found.rows,
        sampled=sampled.texts,
        sample_usd=sampled.cost_usd,
        notes=(*found.notes, *sampled.notes),
    )


def audited_tables(
    connection: Connection, settings: Settings, release: Release | None
) -> tuple[VectorTable, ...]:
    """The tables that the active release searches; without one, those of the settings.

    A space that is being filled for a change of the model is incomplete on purpose.
    """
    wanted: dict[int, Space] = {}
    for role in ROLES:
        space = find_space(connection, settings, role)
        if space is not None:
            wanted.setdefault(space.space_id, space)
    if release is None:
        spaces = tuple(wanted.values())
    else:
        served = {one.space_id: one.role for one in reversed(release.spaces)}
        spaces = tuple(
            wanted.get(number) or space_by_id(connection, number, role)
            for number, role in sorted(served.items())
        )
    return tuple(VectorTable(corpus, space) for corpus in CORPORA for space in spaces)


def _states(
    session: Connection, counted: Mapping[VectorTable, _Counted], found: Findings
) -> dict[str, VersionState]:
    """How far each stored version is embedded, in the spaces where it has any vector."""
    lacking = {
        one.scope
        for one in found.differences
        if KINDS[one.kind].repair == "embed" and one.kind != "not_its_text"
    }
    embedded = {scope for held in counted.values() for scope, rows in held.embedded.items() if rows}
    return {
        code: "none" if code not in embedded else "partial" if code in lacking else "complete"
        for code in _scopes(session, "bible")
    }


@dataclass
class _Counted:
    """What one table holds.

    :param embedded: vectors by scope; ``digests``: the sums of their digests.
    """

    embedded: Counter[str] = field(default_factory=Counter)
    digests: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


def _texts(session: Connection, tables: Sequence[VectorTable], found: Findings) -> None:
    """Compare texts with their hashes and references, and the schema with what it should be."""
    lost: dict[str, list[str]] = defaultdict(list)
    for guarantee in lost_guarantees(session, tables):
        lost[guarantee.kind].append(guarantee.name)
    found.differences += [
        Difference(kind, "schema", len(names), keys=tuple(names), examples=tuple(names[:SHOWN]))
        for kind, names in lost.items()
    ]
    for corpus in CORPORA:
        table = next((one for one in tables if one.corpus == corpus), None)
        if table is None:
            continue
        hashes = [
            rows
            for after, last in ranges(session, table)
            for rows in wrong_hashes(session, corpus, after, last)
        ]
        found.differences += _merged("wrong_text_hash", corpus, hashes)
        for scope in _scopes(session, corpus):
            found.differences += _merged(
                "duplicate_reference", corpus, duplicates(session, corpus, scope)
            )


def _scopes(session: Connection, corpus: Corpus) -> tuple[str, ...]:
    if corpus == DOCUMENTS:
        return tuple(document_corpora(session))
    rows = session.execute("SELECT version_code FROM bible_versions ORDER BY 1").fetchall()
    return tuple(row[0] for row in rows)


def _merged(
    kind: str, corpus: Corpus, found: Sequence[FoundRows], table: VectorTable | None = None
) -> list[Difference]:
    """One difference per scope, from those of its ranges."""
    merged: dict[str, Difference] = {}
    for rows in found:
        before = merged.get(rows.scope) or Difference(kind, rows.scope, 0, table, keys=(corpus,))
        ids = (*before.ids, *rows.ids)
        examples = (*before.examples, *rows.examples)[:SHOWN]
        merged[rows.scope] = replace(before, count=len(ids), ids=ids, examples=examples)
    return list(merged.values())


def _vectors(
    session: Connection,
    table: VectorTable,
    release: Release | None,
    found: Findings,
    progress: Progress,
) -> _Counted:
    """Compare the texts of a table with its vectors."""
    others = tables_of_other_models(session, table)
    twice = {
        id_
        for one in found.differences
        if one.kind == "duplicate_reference" and one.keys == (table.corpus,)
        for id_ in one.ids
    }
    counted = _Counted()
    kinds: dict[str, list[FoundRows]] = defaultdict(list)
    parts = _parts(session, table, table.name, progress)
    for after, last in parts:
        for group in compare_range(session, table, others, after, last):
            if group.kind == "missing_vector" and twice:  # of a row that will be deleted
                group = _without(group, twice)  # noqa: PLW2901
            _count(group, counted, kinds)
            found.rows += group.rows
        progress.advance(1)
    for kind, rows in kinds.items():
        differences = _merged(kind, table.corpus, rows, table)
        if kind == "missing_vector":
            differences = [one for one in differences if _expected(one, table, counted, release)]
        found.differences += differences
    return counted


def _parts(
    session: Connection, table: VectorTable, name: str, progress: Progress
) -> Sequence[tuple[int, int]]:
    parts = list(ranges(session, table))
    if parts:
        progress.start(f"comparing {name}", len(parts))
    return parts


def _count(group: Group, counted: _Counted, kinds: dict[str, list[FoundRows]]) -> None:
    counted.embedded[group.scope] += group.embedded
    counted.digests[group.scope] += group.digest
    if group.kind is not None:
        kinds[group.kind].append(FoundRows(group.scope, group.ids, group.examples))


def _without(group: Group, left_out: set[int]) -> Group:
    ids, examples = others(group.ids, group.examples, left_out)
    return replace(group, ids=ids, examples=examples, kind=group.kind if ids else None)


def _expected(
    missing: Difference, table: VectorTable, counted: _Counted, release: Release | None
) -> bool:
    """Whether a scope should have vectors in a space: it has some, or the release serves it."""
    if counted.embedded[missing.scope]:
        return True
    if release is None or table.space.role != "small":
        return False
    served = release.space(table.corpus, "small") is not None
    return served and missing.scope in (*release.versions, *release.corpora)


def _codes(session: Connection, table: VectorTable, found: Findings, progress: Progress) -> None:
    """Compare the codes of each complete set with the vectors."""
    flagged = found.flagged(table)
    for code_set in code_sets(session, table):
        if code_set.state != "ready":
            continue
        parts = _parts(session, table, code_set.name, progress)
        wrong: list[FoundRows] = []
        for after, last in parts:
            for rows in wrong_codes(session, table, code_set, after, last):
                ids, examples = others(rows.ids, rows.examples, flagged)
                if ids:
                    wrong.append(FoundRows(rows.scope, ids, examples))
            progress.advance(1)
        found.differences += [
            replace(one, keys=(code_set.name,))
            for one in _merged("wrong_code", table.corpus, wrong, table)
        ]


def _sample(
    database: Database,
    session: Connection,
    settings: Settings,
    counted: Mapping[VectorTable, _Counted],
    found: Findings,
    request: Request,
    run_id: str,
    progress: Progress,
) -> Sampled:
    """Compare a sample with the provider's answers, in the spaces that the settings embed in."""
    own = {space.space_id for role in ROLES if (space := find_space(session, settings, role))}
    scopes = {
        table: [scope for scope, rows in sorted(held.embedded.items()) if rows]
        for table, held in counted.items()
        if table.space.space_id in own
    }
    found.notes += [
        f"{table}: no text was embedded again, because the settings name another model"
        for table, held in counted.items()
        if table.space.space_id not in own and held.embedded
    ]
    suspects = [one for one in found.differences if one.kind in SUSPECT]
    sampled = compare_sample(
        database, session, settings, scopes, suspects,
        count=request.sample, run_id=run_id, keep_answers=request.keep_answers, progress=progress,
    )  # fmt: skip
    for table, ids in sampled.denied.items():
        found.leave_out("another_model", table, ids)
    for one in sampled.differences:
        left = one.without(found.flagged(one.table) if one.table else ())
        if left.count:
            found.differences.append(left)
        found.leave_out("wrong_code", one.table, frozenset(one.ids))
    return sampled


def _released(
    session: Connection,
    release: Release,
    counted: Mapping[VectorTable, _Counted],
    found: Findings,
) -> None:
    """Compare the rows of released versions with those that the gate judged."""
    judged = released_rows(session, release.release_id)
    if release.versions and not judged:
        found.notes.append(
            f"release {release.release_id} was made by an earlier version, which recorded no "
            "digests: changes of its rows show from the next release on"
        )
    for table, held in counted.items():
        if table.corpus == DOCUMENTS:
            continue
        for (space_id, scope), before in judged.items():
            if space_id != table.space.space_id:
                continue
            if (held.embedded[scope], held.digests[scope]) != (before.rows, before.digest):
                named = (
                    f"release {release.release_id}: {count(before.rows, 'row')} then, "
                    f"{held.embedded[scope]:,} now"
                )
                found.differences.append(
                    Difference("released_rows_changed", scope, 1, table, examples=(named,))
                )
