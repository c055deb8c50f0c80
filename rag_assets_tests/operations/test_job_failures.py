"""Which failed runs are reported, and under which cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rag_assets.operations.findings import Finding
from rag_assets.operations.job_failures import (
    RETRY_CHANCE,
    SplitFailures,
    by_cause,
    cause_of,
    is_expected,
    split_explained,
)
from rag_assets.operations.sql.dagster_state import RUN_FAILURE, EndedRun, Failure
from rag_assets.operations.sql.failed_runs import FailedRun, Failing, failing_runs, forget_failures
from rag_assets.operations.sql.incidents import Incident
from rag_assets.operations.thresholds import Thresholds
from rag_assets.postgres.database import CONNECTION_ERRORS, Database
from rag_assets_tests.operations.watch import START

URL = "http://127.0.0.1:3000"


def ended(
    error_class: str,
    *,
    job: str = "nightly_index",
    lane: str | None = None,
    step: str = "verse_embeddings_index",
    transient: bool = False,
    retried: bool = False,
) -> EndedRun:
    failure = Failure(error_class, "why", transient=transient, retried=retried)
    return EndedRun(
        "run", job, lane, "FAILURE", START, START, failed_steps=(step,), failure=failure
    )


@pytest.mark.parametrize(
    ("run", "cause"),
    [
        (ended("IndexBuildError"), "nightly_index: IndexBuildError"),
        (ended("GateRefusedError", job="__ASSET_JOB", step="release"), "release: GateRefusedError"),
        (ended("AuthenticationError"), "AuthenticationError"),
        (ended("DatabaseUnavailableError", transient=True), "DatabaseUnavailableError"),
        (ended("WorkerLostError", transient=True, retried=True), None),
        (ended("WorkerLostError", transient=True), "nightly_index: WorkerLostError"),
        (ended("ConfigurationError", lane="rag_processing"), "nightly_index: ConfigurationError"),
        (ended("AuthenticationError", lane="rag_large_docs"), None),
        (ended("RateLimitedError", lane="rag_processing", transient=True), None),
        (ended("DocumentError", lane="rag_processing"), None),
        (ended("DocumentError", job="__ASSET_JOB", step="document_lane"), None),
        (ended("AuthenticationError", lane="rag_bible"), "AuthenticationError"),
    ],
)
def test_reported_failures_are_grouped_by_cause(run: EndedRun, cause: str | None) -> None:
    assert cause_of(run) == cause


def test_a_run_that_did_not_fail_has_no_cause() -> None:
    assert cause_of(EndedRun("run", "a_job", None, "CANCELED", START, START)) is None


def failed(
    number: int, *, job: str = "bible_embeddings", error: str = "AuthenticationError"
) -> FailedRun:
    at = START + timedelta(minutes=number)
    steps = ("verse_embeddings",)
    return FailedRun(f"run-{number}", job, f"EN_{number:02}", steps, error, error, "the key", at)


def test_failures_with_one_cause_are_reported_together_with_their_partitions() -> None:
    runs = [failed(number) for number in range(50)] + [
        replace(failed(51), job="plan", partition="")
    ]
    (jobs,) = by_cause(runs).values()
    assert jobs.subject == "bible_embeddings, plan"
    assert jobs.which.startswith("bible_embeddings failed for 50 partitions: EN_00, EN_01, ")
    assert jobs.which.endswith("EN_39 and 10 more; plan failed")
    assert jobs.facts(URL)[1:] == (
        "AuthenticationError: the key",
        "to do: correct OPENAI_API_KEY in .env and restart whatever uses it; then re-execute "
        "http://127.0.0.1:3000/runs/run-51",
    )


MINUTE = timedelta(minutes=1)


def outage(
    cause: str = "dependency-down", subject: str = "database", **changes: datetime
) -> Incident:
    """An ongoing incident of the queue."""
    evidence = {"subject": subject, "facts": []}
    lasts = Incident(1, "open", cause, evidence, START, START, None, None, None, 0, 0, 0, None)
    return replace(lasts, **changes)


def judged(run: FailedRun, incident: Incident, at: datetime) -> SplitFailures:
    return split_explained(Failing(at, (run,), (incident,)))


@pytest.mark.parametrize(
    ("error", "cause", "subject", "explained"),
    [
        ("AuthenticationError", "dependency-down", "provider", True),
        ("ProviderUnavailableError", "dependency-down", "provider", True),
        ("QuotaExceededError", "dependency-down", "provider", False),
        ("AuthenticationError", "dependency-down", "database", False),
        ("QuotaExceededError", "out-of-quota", "aabbccdd", True),
        ("AuthenticationError", "out-of-quota", "aabbccdd", False),
        ("RateLimitedError", "rate-limited", "aabbccdd", True),
        ("QuotaExceededError", "rate-limited", "aabbccdd", False),
        ("DatabaseUnavailableError", "dependency-down", "database", True),
        ("WorkerLostError", "dependency-down", "database", True),
        (RUN_FAILURE, "dependency-down", "database", True),
        (RUN_FAILURE, "dependency-down", "provider", False),
        ("WorkerLostError", "dependency-down", "workers", True),
        ("WorkerLostError", "worker-lost", "another run", False),
        ("BrokerUnavailableError", "dependency-down", "broker", True),
        ("InboxUnavailableError", "dependency-down", "inbox", True),
        ("IndexBuildError", "dependency-down", "database", False),
        ("IndexBuildError", "unknown", "rag_processing", False),
    ],
)
def test_failures_explained_by_a_queue_incident_are_not_reported_again(
    error: str, cause: str, subject: str, explained: bool
) -> None:
    run = failed(1, error=error)
    standing = judged(run, outage(cause, subject), START + 2 * MINUTE)
    assert bool(standing.explained) is explained
    assert bool(standing.reported) is not explained
    assert split_explained(Failing(START + 2 * MINUTE, (run,))).reported, "without an incident"


@pytest.mark.parametrize(
    ("started", "ended", "over", "now", "explained"),
    [
        # minutes since the outage was noticed; the run, the end of the outage, and now
        (0, 1, None, 600, True),  # it lasts
        (-90, 1, 5, 6, True),
        (-90, -0.5, 5, 6, True),  # it was away before it was noticed
        (-90, -2, 5, 6, False),  # failed before
        (4, 9, 5, 10, True),  # lost in it, and found lost later
        (6, 7, 5, 8, False),  # began after
        (1, 2, 5, 34, True),
        (1, 2, 5, 36, False),  # what runs automatically has had its chance
        (4, 20, 5, 49, True),  # the chance begins when it is known to have failed
        (4, 20, 5, 51, False),
        (-90, 200, 5, 201, False),  # failed hours later
    ],
)
def test_a_failure_belongs_to_an_overlapping_outage_until_retries_had_their_chance(
    started: float, ended: float, over: float | None, now: float, explained: bool
) -> None:
    run = replace(
        failed(0, error="DatabaseUnavailableError"),
        started_at=START + started * MINUTE,
        ended_at=START + ended * MINUTE,
    )
    changes = {} if over is None else {"recovering_at": START + over * MINUTE}
    standing = judged(run, outage(**changes), START + now * MINUTE)
    assert bool(standing.explained) is explained
    assert bool(standing.reported) is not explained


def test_the_retry_period_begins_when_the_dependency_is_back_even_if_documents_are_stuck() -> None:
    run = failed(1, error="DatabaseUnavailableError")
    lasts = outage()
    lasts = replace(lasts, evidence={**lasts.evidence, "over_at": "2026-05-01T12:05:00+00:00"})
    back = START + 5 * MINUTE
    assert judged(run, lasts, back + RETRY_CHANCE - MINUTE).explained
    assert judged(run, lasts, back + RETRY_CHANCE).reported


def test_a_provider_outage_may_begin_long_before_it_is_probed() -> None:
    run = failed(-20, error="ProviderUnavailableError")
    assert judged(run, outage(subject="provider"), START + MINUTE).explained


@pytest.mark.parametrize(
    ("error", "cause", "subject", "minutes", "expected"),
    [
        ("DatabaseUnavailableError", "dependency-down", "database", 1, True),
        (RUN_FAILURE, "dependency-down", "database", 1, True),
        ("DatabaseUnavailableError", "dependency-down", "database", 5, False),
        ("ProviderUnavailableError", "dependency-down", "database", 1, False),
        ("ProviderUnavailableError", "dependency-down", "provider", 1, True),
        ("QuotaExceededError", "out-of-quota", "aabbccdd", 1, False),
    ],
)
def test_a_new_outage_delays_reporting_failed_jobs(
    error: str, cause: str, subject: str, minutes: float, expected: bool
) -> None:
    (jobs,) = by_cause([failed(0, error=error)]).values()
    trouble = Finding("area", "problem", "a fact", "command", START, cause=cause, subject=subject)
    at = START + minutes * MINUTE
    assert is_expected(jobs, (trouble,), Thresholds(), at) is expected
    assert not is_expected(jobs, (), Thresholds(), at)


def test_lost_connections_are_known_by_the_names_of_both_drivers() -> None:
    assert {"OperationalError", "AdminShutdown", "CannotConnectNow"} <= CONNECTION_ERRORS
    assert CONNECTION_ERRORS.isdisjoint({"QueryCanceled", "DiskFull", "UniqueViolation"})


END = """
    INSERT INTO ended_runs (run_id, job, status, ended_at, partition, done_steps, failed_steps,
                            error_class, error, cause)
    VALUES (%s, %s, %s, %s, %s, %s, %s, 'IndexBuildError', 'why', %s)
"""


@pytest.mark.parametrize(
    ("steps", "partition", "later", "stands"),
    [
        (["release"], "EN_A", ("corpus_release", "SUCCESS", "", ["release"]), False),
        (["release"], "", ("bible_to_release", "SUCCESS", "PT_B", ["release", "verses"]), False),
        (["verses"], "EN_A", ("bible_embeddings", "SUCCESS", "PT_B", ["verses"]), True),
        (["verses"], "EN_A", ("bible_embeddings", "FAILURE", "EN_A", ["verses"]), False),
        (["a", "b"], "", ("nightly_index", "SUCCESS", "", ["a"]), True),
        ([], "EN_A", ("a_job", "SUCCESS", "EN_A", []), False),
        ([], "EN_A", ("a_job", "CANCELED", "EN_A", []), True),
        ([], "EN_A", ("another", "SUCCESS", "EN_A", ["a"]), True),
    ],
)
def test_a_failure_is_unresolved_until_a_later_run_has_done_its_steps(
    database: Database,
    steps: list[str],
    partition: str,
    later: tuple[str, str, str, list[str]],
    stands: bool,
) -> None:
    job, status, other, done = later
    after = START + timedelta(minutes=1)
    with database.connect() as connection:
        connection.execute(END, ("f", "a_job", "FAILURE", START, partition, [], steps, "cause"))
        assert [run.run_id for run in failing_runs(connection)] == ["f"]
        connection.execute(END, ("before", job, status, START, other, done, [], None))
        assert len(failing_runs(connection)) == 1, "what was done before counts for nothing"
        connection.execute(END, ("s", job, status, after, other, done, [], None))
        assert bool(failing_runs(connection)) is stands
        forget_failures(connection, "cause")
        assert failing_runs(connection) == ()
