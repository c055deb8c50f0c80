"""Which failed runs are reported, and under which cause."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rag_assets.operations.job_failures import by_cause, cause_of, explained_by
from rag_assets.store.dagster_state import EndedRun, Failure
from rag_assets.store.database import Database
from rag_assets.store.failed_runs import FailedRun, failing_runs, forget_failures
from rag_assets.store.incidents import Incident
from rag_assets_tests.operations.looks import START

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
def test_which_failures_are_reported_and_what_equal_ones_have_in_common(
    run: EndedRun, cause: str | None
) -> None:
    assert cause_of(run) == cause


def test_a_run_that_did_not_fail_has_no_cause() -> None:
    assert cause_of(EndedRun("run", "a_job", None, "CANCELED", START, START)) is None


def failed(
    number: int, *, job: str = "bible_embeddings", error: str = "AuthenticationError"
) -> FailedRun:
    at = START + timedelta(minutes=number)
    steps = ("verse_embeddings",)
    return FailedRun(f"run-{number}", job, f"EN_{number:02}", steps, error, error, "the key", at)


def test_equal_causes_are_told_together_with_their_partitions() -> None:
    runs = [failed(number) for number in range(50)] + [
        replace(failed(51), job="plan", partition="")
    ]
    (jobs,) = by_cause(runs).values()
    assert jobs.subject == "bible_embeddings, plan"
    assert jobs.which.startswith("bible_embeddings failed for 50 partitions: EN_00, EN_01, ")
    assert jobs.which.endswith("EN_39 and 10 more; plan failed")
    assert jobs.facts(URL)[1:] == (
        "AuthenticationError: the key",
        "to do: correct OPENAI_API_KEY in .env and start again what uses it; then re-execute "
        "http://127.0.0.1:3000/runs/run-51",
    )


@pytest.mark.parametrize(
    ("error", "cause", "subject", "explained"),
    [
        ("AuthenticationError", "dependency-down", "provider", True),
        ("AuthenticationError", "dependency-down", "database", False),
        ("QuotaExceededError", "out-of-quota", "aabbccdd", True),
        ("RateLimitedError", "rate-limited", "aabbccdd", True),
        ("DatabaseUnavailableError", "dependency-down", "database", True),
        ("IndexBuildError", "dependency-down", "database", False),
        ("IndexBuildError", "unknown", "rag_processing", False),
    ],
)
def test_what_the_queues_incident_explains_is_not_told_twice(
    error: str, cause: str, subject: str, explained: bool
) -> None:
    evidence = {"subject": subject, "facts": []}
    incident = Incident(1, "open", cause, evidence, START, START, None, None, None, 0, 0, 0, None)
    (jobs,) = by_cause([failed(1, error=error)]).values()
    assert explained_by(jobs, incident) is explained
    assert not explained_by(jobs, None)


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
def test_a_failure_stands_until_a_later_run_has_done_its_steps(
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
