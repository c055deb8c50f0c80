"""Run a job from the command line in this process, recorded in Dagster's storage."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from rag_assets.audit.repair import Status
from rag_assets.bible.versions import find_version_folder
from rag_assets.definitions import build_defs
from rag_assets.defs.bible.config import EmbeddingConfig
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.dagster_private import BLOCKED_BY_A_CHECK
from rag_assets.defs.index.config import IndexConfig
from rag_assets.defs.operations.corpus_audit import status_of
from rag_assets.defs.operations.erasing import traces_in
from rag_assets.defs.resources import CorpusResource, open_corpus
from rag_assets.defs.run_config import RunConfig
from rag_assets.errors import ConfigurationError
from rag_assets.index.indexed_tables import ASSETS
from rag_assets.interrupts import calling_before_end, keep_from_children
from rag_assets.operations.erasure import Traces
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.secrecy import masked
from rag_assets.settings.dagster_home import check_dagster_home
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import Corpus

_HEARTBEAT_TOLERANCE_S = 45.0


@dataclass(frozen=True)
class JobResult:
    """Result of a run of ``bible_embeddings``; it succeeded if there are no failures.

    :param waiting: texts in the provider's batches, and when the last of them is ``due``.
    """

    version: str
    verses: int
    embedded: int
    reused: int
    refused: int
    tokens: int
    cost_usd: float | None
    requests: int
    checks_passed: int
    failures: tuple[str, ...]
    run_id: str
    waiting: int = 0
    due: datetime | None = None


def open_instance() -> dg.DagsterInstance:
    """Return the instance of DAGSTER_HOME, or of the ``dagster.yaml`` in the working directory.

    :raises ConfigurationError: there is neither.
    """
    check_dagster_home()
    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    return dg.DagsterInstance.from_config(str(Path.cwd()))


def partition_status(settings: Settings, database: Database) -> Status:
    """How an audit compares and corrects partitions.

    :raises ConfigurationError: Dagster is not set up.
    """
    return status_of(open_instance(), CorpusResource(settings, database))


@contextmanager
def traces_in_dagster(settings: Settings) -> Iterator[Traces]:
    """What an erasure needs of Dagster.

    :raises ConfigurationError: Dagster is not set up.
    """
    with open_instance() as instance:
        yield traces_in(instance, settings)


def has_partition(code: str) -> bool:
    """Whether Dagster has a partition for this version; false where there is no instance."""
    try:
        with open_instance() as instance:
            return instance.has_dynamic_partition(BIBLE_VERSIONS, code)
    except ConfigurationError:
        return False


def remove_partition(code: str) -> None:
    """Remove a version's partition; its runs and their events stay."""
    with open_instance() as instance:
        instance.delete_dynamic_partition(BIBLE_VERSIONS, code)


def refuse_second_daemon(
    instance: dg.DagsterInstance,
    *,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Refuse to start a daemon beside a running one: two on one storage break runs.

    A daemon sends a heartbeat every 30 s. A recent one may be the last of a killed daemon: wait
    until it is renewed (refuse) or too old (continue).

    :raises ConfigurationError: another daemon is running.
    """
    first = _last_heartbeat(instance)
    if first is None or clock() - first > _HEARTBEAT_TOLERANCE_S:
        return
    say("a Dagster daemon reported recently: checking for up to a minute whether it still runs …")
    while clock() - first <= _HEARTBEAT_TOLERANCE_S:
        sleep(1.0)
        if _last_heartbeat(instance) != first:
            raise ConfigurationError(
                "another Dagster daemon runs on this storage (`dagster dev`, or `up` elsewhere): "
                "stop it first, two of them break runs"
            )


def _last_heartbeat(instance: dg.DagsterInstance) -> float | None:
    beats = instance.get_daemon_heartbeats().values()
    return max((beat.timestamp for beat in beats), default=None)


def run_bible_embeddings(
    code: str,
    config: Mapping[str, object],
    *,
    progress: Progress,
    settings: Settings | None = None,
) -> JobResult:
    """Load, embed and check one version; the run appears in Dagster's UI like any other.

    :param config: fields of ``EmbeddingConfig``; ``None`` means the default.
    :raises RagAssetsError: the configuration is invalid, or the folder, the instance or the
        database is missing; no run is created.
    """
    chosen = _chosen(EmbeddingConfig, config)
    corpus = open_corpus(settings, progress=progress)
    find_version_folder(corpus.settings.rag_bibles_dir, code)
    result = _run(corpus, "bible_embeddings", "verse_embeddings", chosen, partition=code)
    return _summary(code, result)


@dataclass(frozen=True)
class ReleaseRun:
    """Result of a run of ``corpus_release``, ``corpus_index``, or the documents' jobs.

    :param decision: build, keep or exact; with its ``reasons``.
    :param checks: whether each check passed, by name.
    :param release_id: the release that was activated, if any.
    """

    decision: str
    reasons: str
    checks: Mapping[str, bool]
    release_id: int | None
    failures: tuple[str, ...]
    run_id: str


def run_corpus_release(
    config: Mapping[str, object],
    *,
    release: bool,
    progress: Progress,
    settings: Settings | None = None,
    corpus_name: Corpus = "bible",
) -> ReleaseRun:
    """Decide on a corpus' index, check it and optionally release it, in a run like any other.

    :param config: fields of ``IndexConfig``; ``None`` means the default.
    :raises RagAssetsError: the configuration is invalid, or the instance or the database is
        missing; no run is created.
    """
    chosen = _chosen(IndexConfig, config)
    corpus = open_corpus(settings, progress=progress)
    prefix = "corpus" if corpus_name == "bible" else corpus_name
    job = f"{prefix}_release" if release else f"{prefix}_index"
    result = _run(corpus, job, ASSETS[corpus_name].index, chosen)
    shown = {
        name: value.value
        for event in result.get_asset_materialization_events()
        for name, value in event.materialization.metadata.items()
    }
    checks = result.get_asset_check_evaluations()
    failures = [f"{check.check_name}: {check.description}" for check in checks if not check.passed]
    released = shown.get("release")
    return ReleaseRun(
        decision=str(shown.get("decision", "")),
        reasons=str(shown.get("reasons", "")).replace("- ", "").replace("\n", "; "),
        checks={check.check_name: check.passed for check in checks},
        release_id=released if isinstance(released, int) else None,
        failures=(*failures, *_step_failures(result)),
        run_id=result.run_id,
    )


def _chosen(kind: type[RunConfig], config: Mapping[str, object]) -> dict[str, object]:
    """Return the entries that are set, after validating them."""
    given = {name: value for name, value in config.items() if value is not None}
    kind.of(given)
    return given


def _run(
    corpus: CorpusResource,
    job_name: str,
    configured: str,
    config: Mapping[str, object],
    *,
    partition: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Run a job in this process; ``config`` is for the asset ``configured``."""
    job = build_defs(resources={"corpus": corpus}).resolve_job_def(job_name)
    with open_instance() as instance:
        if partition is not None:
            instance.add_dynamic_partitions(BIBLE_VERSIONS, [partition])
        run_id = str(uuid4())
        # In a thread: in the main thread Dagster would handle Ctrl-C, and some of its parts would
        # continue.
        with (
            calling_before_end(lambda: _cancel(instance, run_id)),
            ThreadPoolExecutor(1, initializer=keep_from_children) as thread,
        ):
            return thread.submit(
                job.execute_in_process,
                instance=instance,
                run_id=run_id,
                partition_key=partition,
                run_config={
                    "ops": {configured: {"config": dict(config)}},
                    # The console shows only progress; the log is in Dagster's UI.
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            ).result()


def _cancel(instance: dg.DagsterInstance, run_id: str) -> None:
    """Report a stopped run as canceled; otherwise it would show as started forever."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished:
        instance.report_run_canceled(run, message="its command was stopped by a signal")


def _summary(code: str, result: dg.ExecuteInProcessResult) -> JobResult:
    numbers: dict[str, int | float] = {}
    for event in result.get_asset_materialization_events():
        for name, value in event.materialization.metadata.items():
            if isinstance(value.value, int | float):
                numbers[name] = value.value
    observed = {
        name: value.value
        for event in result.get_asset_observation_events()
        for name, value in event.asset_observation_data.asset_observation.metadata.items()
    }
    due: Any = observed.get("due")
    checks = result.get_asset_check_evaluations()
    failures = [f"{check.check_name}: {check.description}" for check in checks if not check.passed]
    failures += _step_failures(result)
    return JobResult(
        version=code,
        verses=int(numbers.get("dagster/partition_row_count", 0)),
        embedded=int(numbers.get("embedded", 0)),
        reused=int(numbers.get("reused", 0)),
        refused=int(numbers.get("failed", 0)),
        tokens=int(numbers.get("tokens", 0)),
        cost_usd=numbers.get("cost_usd", None if numbers.get("tokens") else 0.0),
        requests=int(numbers.get("requests", 0)),
        checks_passed=sum(check.passed for check in checks),
        failures=tuple(failures),
        run_id=result.run_id,
        waiting=int(str(observed.get("waiting", 0))),
        due=datetime.fromtimestamp(due, UTC) if due else None,
    )


def _step_failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return the reason of each failed step, except for checks, which report their own."""
    reasons = []
    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        if data.error is not None and data.error.cls_name == BLOCKED_BY_A_CHECK:
            continue
        failure = data.user_failure_data
        reason = failure.description if failure is not None else None
        reasons.append(f"{event.step_key}: {reason or _root_cause(data.error)}")
    return reasons


def _root_cause(error: Any) -> str:
    """Return the message of the innermost cause: Dagster's own error only names the op."""
    if error is None:
        return "it failed, and Dagster recorded no reason: see the run in its UI"
    while error.cause is not None:
        error = error.cause
    return masked(error.message.strip())
