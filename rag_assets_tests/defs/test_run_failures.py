"""Why a run failed, read from its events: the error itself, whatever Dagster wraps it in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import dagster as dg
import psycopg2
import pytest
import sqlalchemy.exc
from dagster._core.events import EngineEventData
from dagster._utils.error import serializable_error_info_from_exc_info

from rag_assets.defs.failures import as_failures
from rag_assets.defs.operations.run_failures import describe
from rag_assets.errors import AuthenticationError, CorpusError, DatabaseUnavailableError
from rag_assets.operations.sql.dagster_state import EndedRun, Failure
from rag_assets.secrecy import register_passwords

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LOST = "server closed the connection unexpectedly"
Raises = Callable[[], NoReturn]


def failure_of(instance: dg.DagsterInstance, run_id: str, job: str = "a_job") -> Failure:
    run = EndedRun(run_id, job, None, "FAILURE", NOW, NOW)
    found = describe(instance, run).failure
    assert found is not None
    return found


def by_step(instance: dg.DagsterInstance, breaks: Raises) -> Failure:
    """A step raises the error."""

    @dg.op
    def a_step() -> None:
        breaks()

    @dg.job
    def a_job() -> None:
        a_step()

    return failure_of(instance, a_job.execute_in_process(
        instance=instance, raise_on_error=False
    ).run_id)  # fmt: skip


def by_resource(instance: dg.DagsterInstance, breaks: Raises) -> Failure:
    """A resource cannot be initialized, which ends the run before its first step."""

    @dg.resource
    def needed(_: dg.InitResourceContext) -> None:
        breaks()

    @dg.op(required_resource_keys={"needed"})
    def a_step() -> None:
        """Never begun."""

    @dg.job(resource_defs={"needed": needed})
    def a_job() -> None:
        a_step()

    return failure_of(instance, a_job.execute_in_process(
        instance=instance, raise_on_error=False
    ).run_id)  # fmt: skip


def by_engine(instance: dg.DagsterInstance, breaks: Raises) -> Failure:
    """The process meets the error outside of any step, reports it, and then the run's failure."""
    run = started(instance)
    try:
        breaks()
    except Exception:
        error = serializable_error_info_from_exc_info(sys.exc_info())
        instance.report_engine_event(
            "as the process does", run, EngineEventData.engine_error(error)
        )
    instance.report_run_failed(run)
    return failure_of(instance, run.run_id)


def started(instance: dg.DagsterInstance) -> dg.DagsterRun:
    @dg.op
    def a_step() -> None:
        """Never begun."""

    @dg.job
    def a_job() -> None:
        a_step()

    return instance.create_run_for_job(a_job, status=dg.DagsterRunStatus.STARTED)


def database_is_away() -> NoReturn:
    raise DatabaseUnavailableError("PostgreSQL cannot be reached")


def event_log_is_away() -> NoReturn:
    """As reported by SQLAlchemy, with the statement and its values."""
    try:
        raise psycopg2.OperationalError(f"{LOST}\n\tThis probably means that it ended\n")
    except psycopg2.OperationalError as error:
        raise sqlalchemy.exc.OperationalError(
            "INSERT INTO event_logs (event) VALUES (%(event)s)", {"event": "a text"}, error
        ) from error


def another_is_wrong() -> NoReturn:
    raise ZeroDivisionError("no parts\nof anything")


WAYS = pytest.mark.parametrize("fails", [by_step, by_resource, by_engine])


@WAYS
def test_an_error_of_this_project_is_named_with_its_message(
    instance: dg.DagsterInstance, fails: Callable[..., Failure]
) -> None:
    assert fails(instance, database_is_away) == Failure(
        "DatabaseUnavailableError", "PostgreSQL cannot be reached", transient=True
    )


@WAYS
def test_an_outage_of_dagsters_storage_is_a_database_error(
    instance: dg.DagsterInstance, fails: Callable[..., Failure]
) -> None:
    assert fails(instance, event_log_is_away) == Failure(
        "DatabaseUnavailableError", f"OperationalError: {LOST}", transient=True
    )


@WAYS
def test_any_other_error_is_named_by_its_class_and_first_line(
    instance: dg.DagsterInstance, fails: Callable[..., Failure]
) -> None:
    assert fails(instance, another_is_wrong) == Failure("ZeroDivisionError", "no parts")


@pytest.mark.parametrize(
    ("breaks", "expected"),
    [
        (database_is_away, ("DatabaseUnavailableError", "PostgreSQL cannot be reached", True)),
        (event_log_is_away, ("DatabaseUnavailableError", f"OperationalError: {LOST}", True)),
        (another_is_wrong, ("ZeroDivisionError", "no parts", False)),
    ],
)
def test_a_failure_of_a_step_shows_the_error_behind_it(
    instance: dg.DagsterInstance, breaks: Raises, expected: tuple[str, str, bool]
) -> None:
    name, told, transient = expected
    assert by_step(instance, as_failures()(breaks)) == Failure(name, told, transient=transient)


def test_a_secret_in_an_error_is_masked(instance: dg.DagsterInstance) -> None:
    register_passwords(["s3cret-pa55word"])

    def breaks() -> NoReturn:
        raise ZeroDivisionError("between s3cret-pa55word and 0")

    for raises in (breaks, as_failures()(breaks)):
        found = by_step(instance, raises)
        assert found.error_class == "ZeroDivisionError"
        assert found.error.endswith("between *** and 0")


def test_the_context_of_an_error_is_not_its_reason(instance: dg.DagsterInstance) -> None:
    def breaks() -> NoReturn:
        try:
            raise AuthenticationError("an earlier one")
        except AuthenticationError:
            another_is_wrong()

    assert by_step(instance, breaks).error_class == "ZeroDivisionError"


def test_an_error_of_another_package_with_the_same_name_is_not_confused(
    instance: dg.DagsterInstance,
) -> None:
    def breaks() -> NoReturn:
        raise type(CorpusError.__name__, (Exception,), {})("theirs")

    assert by_step(instance, breaks) == Failure("CorpusError", "theirs")


def test_a_run_without_an_error_names_where_it_ended(instance: dg.DagsterInstance) -> None:
    run = started(instance)
    instance.report_run_failed(run, "The run was marked as failed.")
    assert failure_of(instance, run.run_id) == Failure(
        "RunFailure",
        "The run was marked as failed. The run ended outside of any step, and Dagster "
        "recorded no error.",
    )
