"""How an error appears in the UI: one sentence, its class, whether to retry, and no secret."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import dagster as dg
import pytest

from rag_assets import errors
from rag_assets.definitions import build_defs
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.errors import RagAssetsError, TransientError
from rag_assets.postgres.database import Database
from rag_assets.secrecy import register_keys
from rag_assets.settings.model import fingerprint
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane

KEY = "sk-live-0123456789-abcdefghij-very-secret"
PASSWORD = "s3cr3t-p@ss/word"  # noqa: S105


def all_errors(base: type[RagAssetsError] = RagAssetsError) -> list[type[RagAssetsError]]:
    """The classes of the tree without sub-classes."""
    below = base.__subclasses__()
    return [leaf for sub in below for leaf in all_errors(sub)] if below else [base]


@pytest.mark.parametrize("error_class", all_errors(), ids=lambda error: error.__name__)
def test_every_error_becomes_a_failure_that_may_be_retried_only_when_it_is_transient(
    error_class: type[RagAssetsError],
) -> None:
    made: dict[type[RagAssetsError], RagAssetsError] = {
        errors.CorpusError: errors.CorpusError(Path("a.usfm"), "is broken", line=3),
        errors.GateRefusedError: errors.GateRefusedError(["is broken", "and stale"]),
        errors.RequestError: errors.RequestError("bad", "query", "is broken"),
    }
    error = made.get(error_class)
    if error is None and issubclass(error_class, errors.DocumentError):
        error = error_class("a.pdf", "is broken")
    error = error or error_class("is broken")
    with pytest.raises(dg.Failure) as raised, as_failures():
        raise error
    transient = issubclass(error_class, TransientError)
    assert raised.value.description == str(error)
    assert raised.value.allow_retries is transient
    told = {name: value.value for name, value in raised.value.metadata.items()}
    if error_class is errors.GateRefusedError:
        assert (told.pop("reasons"), told.pop("reason_count")) == ("- is broken\n- and stale", 2)
        assert told.pop("fixes") == ""
    assert told == {"error_class": error_class.__name__, "may_pass_later": transient}


def test_a_foreign_exception_shows_its_class_and_reason_and_keeps_its_traceback() -> None:
    with pytest.raises(dg.Failure) as raised, as_failures():
        _ = 1 / 0
    assert raised.value.description == "ZeroDivisionError: division by zero"
    assert raised.value.metadata["error_class"].value == "ZeroDivisionError"
    assert raised.value.allow_retries
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert raised.value.__cause__.__traceback__ is not None


def test_errors_of_dagster_are_passed_on() -> None:
    own = dg.Failure("as it is")
    with pytest.raises(dg.Failure) as raised, as_failures():
        raise own
    assert raised.value is own


class _Broken:
    """A corpus on which everything fails unexpectedly, with a key in the message."""

    progress = None

    @property
    def database(self) -> NoReturn:
        raise ZeroDivisionError(f"no such thing with {KEY}")

    settings = reporting = database


@pytest.mark.parametrize(
    ("job", "partition", "config"),
    [
        ("bible_verses", "EN_RUN", {}),
        ("bible_embeddings", "EN_RUN", {}),
        ("bible_embedding_plan", None, {}),
        ("corpus_index", None, {}),
        ("documents_index", None, {}),
        ("corpus_release", None, {}),
        ("document_processing", None, {}),
        ("document_dead_letters", None, {"put_dead_letters_back": {"everything": True}}),
        ("document_upkeep", None, {}),
        ("capacity_record", "2026-11-02", {}),
        ("incident_reports", "1", {}),
        ("audit", None, {}),
    ],
)
def test_every_job_fails_with_class_and_reason_of_unexpected_errors(
    instance: dg.DagsterInstance, job: str, partition: str | None, config: Mapping[str, object]
) -> None:
    register_keys([KEY])
    instance.add_dynamic_partitions("bible_version", ["EN_RUN"])
    instance.add_dynamic_partitions("incidents", ["1"])
    result = (
        build_defs(resources={"corpus": _Broken(), "watched_corpus": _Broken()})
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            partition_key=partition,
            run_config={"ops": {op: {"config": given} for op, given in config.items()}},
            raise_on_error=False,
        )
    )
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failures
    for failure in failures:
        assert failure.user_failure_data is not None, failure.error
        reason = failure.user_failure_data.description
        assert reason == "ZeroDivisionError: no such thing with ***"
        assert failure.user_failure_data.metadata["error_class"].value == "ZeroDivisionError"
    assert KEY not in everything_said(instance, result.run_id)


def test_a_database_outage_is_transient(lane: Lane, tmp_path: Path) -> None:
    lane.drop("EN_RUN", sentences(3))
    away = Database(f"host={tmp_path} dbname=corpus user=someone")
    failure = (
        Lane(CorpusResource(lane.corpus.settings, away), lane.instance)
        .run("EN_RUN", job="bible_verses")
        .failure("verses")
    )
    assert failure.metadata == {"error_class": "DatabaseUnavailableError", "may_pass_later": True}
    assert "is it running, and is RAG_DATABASE_URL right?" in failure.description


def test_the_deployed_resource_reports_database_errors_without_the_password(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("RAG_DATABASE_URL", f"host={tmp_path} dbname=x user=u password={PASSWORD}")
    instance.add_dynamic_partitions("bible_version", ["EN_RUN"])
    result = (
        build_defs()
        .resolve_job_def("bible_verses")
        .execute_in_process(instance=instance, partition_key="EN_RUN", raise_on_error=False)
    )
    said = everything_said(instance, result.run_id)
    assert "PostgreSQL cannot be reached (x on " in said
    assert PASSWORD not in said


def test_a_refused_key_fails_immediately_and_no_key_or_password_is_shown(
    make_lane: MakeLane,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    open_lane = make_lane(openai_api_key=KEY)
    with_password = Database(f"{open_lane.corpus.database.conninfo} password={PASSWORD}")
    lane = Lane(CorpusResource(open_lane.corpus.settings, with_password), open_lane.instance)
    lane.drop("EN_RUN", sentences(3))
    run = lane.run("EN_RUN")
    failure = run.failure("verse_embeddings")
    assert failure.metadata == {"error_class": "AuthenticationError", "may_pass_later": False}
    assert f"refuses key {fingerprint(KEY)} (invalid_api_key)" in failure.description

    out, err = capfd.readouterr()
    said = everything_said(lane.instance, run.run_id) + caplog.text + out + err
    assert "AuthenticationError" in said
    for secret in (KEY, KEY[:14], KEY[-10:], PASSWORD):
        assert secret not in said


def everything_said(instance: dg.DagsterInstance, run_id: str) -> str:
    """Everything that Dagster stores of a run: its events with their errors, and its record."""
    return repr([*instance.all_logs(run_id), instance.get_run_by_id(run_id)])
