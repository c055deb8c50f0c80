"""Plan a repair, and carry it out: the difference, and nothing else.

A vector is replaced once its answer is there, so that a text is never without one meanwhile. Each
part is one transaction: a repair that is interrupted is continued by the next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rag_assets.audit.compare import Partitions, Request, audit, audited_tables
from rag_assets.audit.model import KINDS, AuditReport, Difference
from rag_assets.audit.releasing import release_again
from rag_assets.audit.sampling import embed_again, tokens_of
from rag_assets.audit.sources import differing_verses
from rag_assets.audit.sql.repairs import (
    correct_hashes,
    delete_texts,
    delete_vectors,
    file_vectors,
    restore_guarantees,
    rewrite_codes,
)
from rag_assets.audit.sql.samples import texts_of
from rag_assets.audit.sql.texts import verses_of
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql import embeddings as verse_embeddings
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import find_version_folder, read_declaration
from rag_assets.documents.corpora import registered, settings_for
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import take_files
from rag_assets.documents.sql.vector_repair import write_chunk_vectors
from rag_assets.embedding.batching import text_hash
from rag_assets.embedding.sql.purchases import without_answer
from rag_assets.errors import BudgetExceededError, CorpusError, RagAssetsError
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, price_setting, together
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.spaces import ROLES, find_space
from rag_assets.vectors.sql.tables import CORPORA, Corpus, VectorTable

_PART = 5_000
"""Rows changed in one transaction."""
_FIRST = (
    "disabled_trigger",
    "duplicate_reference",
    "lost_constraint",
    "wrong_text_hash",
    "text_not_in_source",
)
"""Kinds that are repaired before vectors, in this order: what the schema guarantees, and texts."""
_OF_FILES = ("duplicate_reference", "text_not_in_source", "source_not_loaded")
"""Kinds that concern the versions' files, which a repair of others need not read again."""
_GUARANTEES = ("disabled_trigger", "lost_constraint", "lost_type")


@dataclass(frozen=True)
class RepairPlan:
    """What a repair would do.

    :param differences: those that it would repair; ``left``: the others, each with the reason.
    :param texts: distinct texts that would be requested; ``cost_usd``: ``None`` if unknown.
    """

    differences: tuple[Difference, ...]
    left: tuple[Difference, ...]
    texts: int
    tokens: int
    cost_usd: float | None


@dataclass(frozen=True)
class Status:
    """What an audit needs from Dagster.

    :param compare: compares the partitions with the data; ``correct``: corrects these.
    """

    compare: Partitions
    correct: Callable[[Sequence[Difference]], None]


def plan_repair(database: Database, settings: Settings, report: AuditReport) -> RepairPlan:
    """Decide what can be repaired, and what that costs."""
    with database.connect() as connection:
        own = {s.space_id for role in ROLES if (s := find_space(connection, settings, role))}
        judged = [_judged(one, own) for one in report.differences]
        texts, tokens, costs = 0, 0, []
        for table, groups in _to_embed(judged).items():
            for overwrite, ids in groups.items():
                wanted = texts_of(connection, table, ids)
                hashes = list(dict.fromkeys(text.text_hash for text in wanted))
                asked = set(
                    without_answer(
                        connection, table.space, hashes,
                        published_counts=not overwrite, corpus=table.corpus,
                    )
                )  # fmt: skip
                requested = [text for text in wanted if text.text_hash in asked]
                of_table = tokens_of(connection, table, requested)
                texts, tokens = texts + len(asked), tokens + of_table
                costs.append(cost_of(of_table, table.space.usd_per_million_tokens))
    return RepairPlan(
        tuple(one for one in judged if not one.reason),
        tuple(one for one in judged if one.reason),
        texts,
        tokens,
        together(costs),
    )


def _judged(one: Difference, own: set[int]) -> Difference:
    """The difference with the reason why it cannot be repaired, if there is one."""
    kind = KINDS[one.kind]
    if kind.repair == "none":
        return replace(one, reason=kind.remedy)
    if kind.repair == "embed" and one.table and one.table.space.space_id not in own:
        return replace(
            one,
            reason="the settings name another model than this space's: set it again, or "
            "`rag-assets space change`",
        )
    return one


def check_repair_budget(settings: Settings, plan: RepairPlan) -> None:
    """Refuse a repair that would cost more than ``RAG_MAX_RUN_COST_USD``.

    :raises BudgetExceededError: before anything is changed.
    """
    budget = settings.rag_max_run_cost_usd
    if budget is None:
        return
    if plan.cost_usd is None:
        settings_ = " or ".join(map(price_setting, ROLES))
        raise BudgetExceededError(
            "the price of the repair is not known, so that RAG_MAX_RUN_COST_USD cannot be "
            f"enforced; nothing was changed. Set {settings_}"
        )
    if plan.cost_usd > budget:
        raise BudgetExceededError(
            f"the repair would cost about ${plan.cost_usd:.4f}, more than RAG_MAX_RUN_COST_USD = "
            f"${budget:.4f}; nothing was changed"
        )


def repair(
    database: Database,
    settings: Settings,
    report: AuditReport,
    *,
    run_id: str,
    status: Status | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Repair what a report found, and compare again; return what is left.

    Runs that decide on an index, check it or release wait for it, and it for them.

    :raises BudgetExceededError: it would cost too much; nothing was changed.
    """
    progress = progress or Silent()

    def waiting() -> None:
        progress.say("another repair, or a run of the index or a release, is under way: waiting")

    with database.connect(autocommit=True) as session:
        locks.lock_session(session, locks.REPAIRING, waiting=waiting)
        return _repaired(
            database, settings, report, run_id=run_id, status=status, progress=progress
        )


def _repaired(
    database: Database,
    settings: Settings,
    report: AuditReport,
    *,
    run_id: str,
    status: Status | None,
    progress: Progress,
) -> AuditReport:
    plan = plan_repair(database, settings, report)
    check_repair_budget(settings, plan)
    of_files = [one for one in report.differences if one.kind in _OF_FILES]
    work = _Work(database, settings, run_id, progress, read_versions=bool(of_files))
    reasons: dict[tuple[str, str, str], str] = {}
    for one in sorted(plan.differences, key=_turn):
        try:
            work.repair(one)
        except RagAssetsError as error:
            reasons[one.kind, one.scope, one.space] = str(error)
            progress.say(f"{one.kind} of {one.scope}: {error}")
    left = work.compared(status)
    changed = [one for one in left.differences if one.kind == "released_rows_changed"]
    untrue = [one for one in left.differences if one.kind == "untrue_partition"]
    if changed:
        scopes = sorted({one.scope for one in changed})
        try:
            release_again(database, settings, scopes, run_id=run_id, progress=progress)
        except RagAssetsError as error:
            reasons |= {(one.kind, one.scope, one.space): str(error) for one in changed}
    if untrue and status is not None:
        status.correct(untrue)
    if changed or untrue:
        left = work.compared(status)
    known = {(one.kind, one.scope, one.space): one.reason for one in plan.left} | reasons
    differences = tuple(
        replace(one, reason=known.get((one.kind, one.scope, one.space), ""))
        for one in left.differences
    )
    return replace(
        report,
        differences=differences,
        notes=tuple(dict.fromkeys((*report.notes, *left.notes))),
        repaired=max(0, report.count - sum(one.count for one in differences)),
    )


def _turn(one: Difference) -> tuple[int, int]:
    """Texts first; replaced vectors before missing ones, which may reuse them; codes last."""
    order = list(KINDS)
    first = _FIRST.index(one.kind) if one.kind in _FIRST else len(_FIRST)
    late = {"missing_vector": 1, "lost_type": 2, "wrong_code": 3}.get(one.kind, 0)
    return first, late * len(order) + order.index(one.kind)


def _to_embed(
    differences: Sequence[Difference],
) -> Mapping[VectorTable, Mapping[bool, list[int]]]:
    """Rows to embed by table, and whether a stored vector of the same text may be wrong, too."""
    found: dict[VectorTable, dict[bool, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in differences:
        if KINDS[one.kind].repair == "embed" and one.table and not one.reason:
            found[one.table][one.kind != "missing_vector"] += one.ids
    return found


class _Work:
    """Repairs single differences."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        run_id: str,
        progress: Progress,
        *,
        read_versions: bool,
    ) -> None:
        self._database = database
        self._settings = settings
        self._run_id = run_id
        self._again = Request(sample=0, read_versions=read_versions)
        self._progress = progress

    def compared(self, status: Status | None) -> AuditReport:
        """Compare again, without a sample."""
        return audit(
            self._database, self._settings, self._again, run_id=self._run_id,
            partitions=status.compare if status else None, progress=self._progress,
        )  # fmt: skip

    def repair(self, one: Difference) -> None:
        """Repair one difference; partitions and releases are not repaired here.

        :raises RagAssetsError: it cannot be; what was repaired until then stays.
        """
        kind = KINDS[one.kind].repair
        if kind in ("report", "release"):
            return
        self._progress.start(f"repairing {one.kind} of {one.scope}", one.count)
        if kind == "embed" and one.table is not None:
            self._embed(one, one.table)
        elif kind == "load":
            self._load(one.scope)
        elif kind == "queue":
            with self._database.connect(autocommit=True) as connection:
                settings = settings_for(self._settings, registered(connection, one.scope))
                take_files(connection, open_inbox(settings), settings, one.keys, corpus=one.scope)
        elif kind in ("delete", "rewrite"):
            self._change(one)
        if kind != "embed":  # requests advance it
            self._progress.advance(one.count)

    def _change(self, one: Difference) -> None:
        if one.kind in _GUARANTEES:
            with self._database.connect() as connection:
                tables = audited_tables(connection, self._settings, active_release(connection))
                restore_guarantees(connection, tables, one.keys)
            return
        ids = one.ids
        if one.kind == "duplicate_reference":
            ids = self._not_the_sources(one)
        for start in range(0, len(ids), _PART):
            part = ids[start : start + _PART]
            with self._database.connect() as connection:
                _change_part(connection, one, part)

    def _embed(self, one: Difference, table: VectorTable) -> None:
        overwrite = one.kind != "missing_vector"
        for start in range(0, len(one.ids), _PART):
            ids = one.ids[start : start + _PART]
            with self._database.connect(autocommit=True) as session:
                texts = texts_of(session, table, ids)
                if not texts:
                    raise CorpusError(
                        self._settings.rag_bibles_dir / one.scope,
                        "its text may go to no provider (ai_allowed)",
                    )
                embed_again(
                    self._database, session, self._settings, table, texts,
                    scope=one.scope, run_id=self._run_id, overwrite=overwrite,
                    progress=self._progress,
                )  # fmt: skip
                ids = tuple(text.row_id for text in texts)
                with session.transaction():
                    if table.corpus == "bible":
                        verse_embeddings.publish(
                            session, table.space, one.scope, ids, run_id=self._run_id
                        )
                    else:
                        write_chunk_vectors(session, table.space, ids, run_id=self._run_id)

    def _load(self, code: str) -> None:
        folder = find_version_folder(self._settings.rag_bibles_dir, code)
        read = read_version(folder.path, reading_limits(self._settings))
        with self._database.connect() as connection:
            if differing_verses(connection, code, read.bible):
                load_verses(
                    connection, code, read_declaration(folder), read.bible,
                    source_hash=read.source_hash, run_id=self._run_id,
                )  # fmt: skip

    def _not_the_sources(self, one: Difference) -> tuple[int, ...]:
        """Of verses stored more than once, those to delete: the source's is kept, or the oldest."""
        if one.keys != ("bible",):
            return one.ids
        try:
            folder = find_version_folder(self._settings.rag_bibles_dir, one.scope)
            read = read_version(folder.path, reading_limits(self._settings)).bible
        except RagAssetsError:
            return one.ids
        wanted = {(v.book, v.chapter, v.verse): text_hash(v.text) for v in read.verses}
        with self._database.connect() as connection:
            rows = list(verses_of(connection, one.scope))
        places: dict[tuple[str, int, int], list[tuple[int, bool]]] = defaultdict(list)
        for row in rows:
            places[row.place].append((row.verse_id, row.text_hash == wanted.get(row.place)))
        gone = []
        for found in places.values():
            kept = next((verse_id for verse_id, same in found if same), found[0][0])
            gone += [verse_id for verse_id, _ in found if verse_id != kept]
        return tuple(gone)


def _change_part(connection: Connection, one: Difference, ids: Sequence[int]) -> None:
    if one.kind in ("duplicate_reference", "wrong_text_hash"):
        corpus: Corpus = next(name for name in CORPORA if name in one.keys)
        if corpus == "bible":
            locks.lock_transaction(connection, locks.changing_verses(one.scope))
        (delete_texts if one.kind == "duplicate_reference" else correct_hashes)(
            connection, corpus, ids
        )
    elif one.table is None:
        raise LookupError(f"{one.kind} has no table")
    elif one.kind == "orphaned_vector":
        delete_vectors(connection, one.table, ids)
    elif one.kind == "misfiled_vector":
        file_vectors(connection, one.table, one.scope, ids)
    else:
        rewrite_codes(connection, one.table, one.keys[0], ids)
