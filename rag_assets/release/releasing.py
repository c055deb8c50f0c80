"""Release, roll back and activate, each in one transaction and under one lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from importlib.metadata import version as package_version

from rag_assets.errors import ConfigurationError, GateRefusedError
from rag_assets.index.sql import generations
from rag_assets.index.sql.text_weights import recorded_weights
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.release.evidence import Evidence, IndexEvidence, gather_evidence
from rag_assets.release.gate import GateVerdict, judge_release
from rag_assets.release.refusal import Automation, grouped
from rag_assets.release.sql.released_rows import record_released_rows
from rag_assets.release.sql.releases import (
    activate_release,
    name_live_indexes,
    record_texts,
    refresh_views,
    release_by_id,
    write_release,
)
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import CheckResult
from rag_assets.vectors.sql.served import Release, active_release
from rag_assets.vectors.sql.spaces import dropped_spaces, space_by_id
from rag_assets.vectors.sql.tables import VectorTable


@dataclass(frozen=True)
class Released:
    """The outcome of a release.

    :param release: the release that is active now.
    :param before: the release that was active before; the same one if nothing changed.
    """

    verdict: GateVerdict
    release: Release
    before: Release | None


def evaluate_gate(
    connection: Connection,
    settings: Settings,
    *,
    leave_out_failing: bool | None = None,
    after_rollback: bool = False,
) -> tuple[Evidence, GateVerdict]:
    """Evaluate the gate without writing anything.

    :param leave_out_failing: ``None`` for RAG_RELEASE_LEAVE_OUT_FAILING.
    :param after_rollback: as for :func:`judge_release`.
    """
    evidence = gather_evidence(connection, settings)
    leave_out = settings.rag_release_leave_out_failing
    return evidence, judge_release(
        evidence,
        max_age=timedelta(hours=settings.rag_evidence_max_age_h),
        leave_out_failing=leave_out if leave_out_failing is None else leave_out_failing,
        after_rollback=after_rollback,
        quality_floor=settings.rag_quality_floor,
    )


def release(
    database: Database,
    settings: Settings,
    *,
    run_id: str,
    leave_out_failing: bool | None = None,
    after_rollback: bool = False,
    keep_model: bool = False,
    automation: Automation | None = None,
    progress: Progress | None = None,
) -> Released:
    """Release what passes the gate, and activate it.

    Evidence, verdict, candidate and activation are one transaction, so exactly what was judged is
    activated. A refusal is recorded with its reasons, and the active release stays.

    :param keep_model: release nothing, and record no refusal, where the settings name another
        space than the one that is served: an operator changes the model, not an automation, which
        may still hold the settings of before.
    :param automation: what is already being done about a refusal; by default nothing.
    :raises GateRefusedError: the gate refused; with all reasons, grouped by their fix.
    """
    progress = progress or Silent()
    with _release_lock(database) as session:
        with session.transaction():
            session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            evidence, verdict = evaluate_gate(
                session,
                settings,
                leave_out_failing=leave_out_failing,
                after_rollback=after_rollback,
            )
            if keep_model and evidence.active and _changes_model(evidence, evidence.active):
                progress.say(
                    "the settings name another model than the one that is served: nothing is "
                    "released automatically. `rag-assets space change` changes it"
                )
                return Released(verdict, evidence.active, evidence.active)
            reasons = tuple(map(str, verdict.reasons))
            fixes = grouped(verdict.reasons, automation or Automation())
            if verdict.unchanged and verdict.passed and evidence.active is not None:
                return Released(verdict, evidence.active, evidence.active)
            release_id = write_release(
                session,
                versions=verdict.versions,
                spaces=() if reasons else verdict.spaces,
                manifest=_manifest(evidence, verdict, settings)
                | {"fixes": [asdict(fix) for fix in fixes]},
                reasons=reasons,
                code_version=package_version("rag-assets"),
                run_id=run_id,
            )
            if not reasons:
                _activate(session, release_id, settings, evidence.tables.get("small"))
        if reasons:
            raise GateRefusedError(reasons, tuple(map(str, fixes)))
        made = _tidy(session, release_id, progress)
    return Released(verdict, made, evidence.active)


def _activate(
    session: Connection, release_id: int, settings: Settings, bible: VectorTable | None
) -> None:
    record_texts(
        session,
        release_id,
        weight=settings.rag_text_weight,
        depth=settings.rag_text_depth,
        weights=recorded_weights(session, bible) if bible else {},
    )
    activate_release(session, release_id)
    record_released_rows(session, _existing(session, release_id))


def _changes_model(evidence: Evidence, active: Release) -> bool:
    served = {space.space_id for space in active.spaces if space.role == "small"}
    wanted = evidence.tables.get("small")
    return bool(served) and (wanted is None or wanted.space.space_id not in served)


def roll_back(database: Database, *, progress: Progress | None = None) -> tuple[Release, Release]:
    """Bring back the release before the active one; return (active now, active before).

    :raises ConfigurationError: there is none, or its index was dropped.
    """
    with _release_lock(database) as session:
        with session.transaction():
            now = active_release(session)
            if now is None:
                raise ConfigurationError("nothing is released, so there is nothing to roll back")
            if now.previous_id is None:
                raise ConfigurationError(f"release {now.release_id} is the first: none before it")
            _refuse_unservable(session, now.previous_id)
            record_texts(session, now.previous_id)
            activate_release(session, now.previous_id, rolling_back=True)
        made = _tidy(session, now.previous_id, progress or Silent())
    return made, now


def activate(
    database: Database, release_id: int, *, progress: Progress | None = None
) -> tuple[Release, Release | None]:
    """Make an earlier release the active one again; return (active now, active before).

    :raises ConfigurationError: there is no such release, it was refused, or its index was dropped.
    """
    with _release_lock(database) as session:
        with session.transaction():
            now = active_release(session)
            if now is not None and now.release_id == release_id:
                return now, now
            _refuse_unservable(session, release_id)
            record_texts(session, release_id)
            activate_release(session, release_id)
        made = _tidy(session, release_id, progress or Silent())
    return made, now


@contextmanager
def _release_lock(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as session:
        locks.lock_session(session, locks.CHANGING_RELEASES)
        yield session


def _refuse_unservable(session: Connection, release_id: int) -> None:
    found = release_by_id(session, release_id)
    if found is None:
        raise ConfigurationError(f"there is no release {release_id}: `rag-assets release status`")
    if found.state == "refused":
        raise ConfigurationError(
            f"release {release_id} was refused: {'; '.join(found.reasons)}. Fix that, then "
            "`rag-assets release activate`"
        )
    dropped = dropped_spaces(session)
    for space in found.spaces:
        if space.space_id in dropped:
            raise ConfigurationError(
                f"release {release_id} searches space {space.space_id}, whose vectors were dropped"
            )
        if space.generation is None:
            continue
        table = VectorTable(space.corpus, space_by_id(session, space.space_id, space.role))
        ready = {made.number for made in generations.ready_generations(session, table)}
        if space.generation not in ready:
            raise ConfigurationError(
                f"release {release_id} searches index generation {space.generation}, which is not "
                "kept any more (RAG_RELEASES_KEPT): build and release again"
            )


def _tidy(session: Connection, release_id: int, progress: Progress) -> Release:
    """Rename the index and refresh the views after a switch; failing to do so never undoes it."""
    made = _existing(session, release_id)
    if not name_live_indexes(session, made):
        progress.say("the live index is busy: it will get its well-known name at the next release")
    if not refresh_views(session):
        progress.say(
            "a view of the vectors is being read: the views will be updated at the next release"
        )
    return made


def _existing(session: Connection, release_id: int) -> Release:
    made = release_by_id(session, release_id)
    if made is None:
        raise LookupError(f"release {release_id} is gone")
    return made


def _manifest(evidence: Evidence, verdict: GateVerdict, settings: Settings) -> dict[str, object]:
    """What an operator may want to know about a release later."""
    results = [
        _result_facts(result)
        for version in evidence.versions
        for space in version.spaces.values()
        for result in space.results.values()
    ]
    documents = evidence.documents
    shown: dict[str, object] = {}
    if documents is not None:
        rows = {
            corpus: {role: space.rows for role, space in spaces.items()}
            for corpus, spaces in documents.corpora.items()
        }
        shown["documents"] = {"rows": rows, "index": _index_facts(documents.index)}
        results += [
            _result_facts(result)
            for spaces in documents.corpora.values()
            for space in spaces.values()
            for result in space.results.values()
        ]
    return {
        "content": verdict.content,
        "left_out": dict(verdict.left_out),
        "index": _index_facts(evidence.index),
        **shown,
        "checks": results,
        "limits": {
            "recall_floor": settings.rag_recall_floor,
            "slo_p95_ms": settings.rag_slo_p95_ms,
            "slo_concurrency": settings.rag_slo_concurrency,
            "evidence_max_age_h": settings.rag_evidence_max_age_h,
        },
    }


def _result_facts(result: CheckResult) -> dict[str, object]:
    return {
        "subject": result.subject,
        "check": result.check,
        "passed": result.passed,
        "revision": result.revision,
        "evaluated_at": result.evaluated_at.isoformat(),
        "run_id": result.run_id,
    }


def _index_facts(index: IndexEvidence | None) -> dict[str, object]:
    figures = (
        {check: dict(result.measured) for check, result in index.results.items()} if index else {}
    )
    return {
        "decision": index.decision.action if index and index.decision else None,
        "reasons": list(index.decision.reasons) if index and index.decision else [],
        "lists": index.generation.lists if index and index.generation else None,
        "probes": asdict(index.probes) if index and index.probes else None,
        "codes": asdict(index.codes) if index and index.codes else None,
        "figures": figures,
    }
