"""Runs by Celery on one machine: a real Redis, a real worker, the launcher asked what it says."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from rag_assets.defs.celery import priority_of
from rag_assets.errors import ConfigurationError
from rag_assets.operations.broker import open_broker, queue_of
from rag_assets.operations.survey import survey
from rag_assets.settings.model import load_settings
from rag_assets_tests.defs.deployment import ROOT, plain_environment
from rag_assets_tests.deployment.celery_machine import Machine
from rag_assets_tests.deployment.redis_server import PASSWORD
from rag_assets_tests.secrets import everything_shown

pytestmark = pytest.mark.long


def test_a_run_is_done_by_the_worker_of_its_lane(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch()
    machine.wait(lambda: machine.run(run_id).is_finished, 30)
    assert machine.status(run_id) == "SUCCESS", machine.log()
    assert "[LaneLauncher] Sent to the workers of rag_processing." in machine.told(run_id)
    assert machine.findings() == {}
    name = f"rag_processing+rag_large_docs@{socket.gethostname()}"
    (workers,) = [one for one in survey(load_settings()).probes if one.name == "workers"]
    assert workers.detail == f"rag_processing: {name}; rag_large_docs: {name}"


def test_a_run_is_interrupted_from_the_ui(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch_slow()
    machine.instance.report_run_canceling(machine.run(run_id))
    assert machine.launcher.terminate(run_id)
    machine.wait(lambda: machine.run(run_id).is_finished, 20)
    assert machine.status(run_id) == "CANCELED"


def test_the_password_is_in_no_process_list_log_or_event(machine: Machine) -> None:
    machine.keep_worker()
    run_id = machine.launch()
    machine.wait(lambda: machine.run(run_id).is_finished, 30)
    hidden = (PASSWORD, quote(PASSWORD, safe=""))
    shown = [" ".join(process.cmdline()) for process in machine.processes()]
    shown += [(machine.folder / "worker.log").read_text("utf-8", "replace")]
    shown += [repr(machine.broker), machine.broker.describe(), str(machine.instance.get_ref())]
    shown += [str(entry) for entry in machine.instance.all_logs(run_id)]
    assert [word for word in hidden for text in shown if word in text] == []


@pytest.mark.parametrize(
    ("options", "changed", "told"),
    [
        ([], {"RAG_CELERY_BROKER_URL": ""}, "RAG_CELERY_BROKER_URL is not set"),
        ([], {"RAG_CELERY_BROKER_URL": "redis://127.0.0.1:9/0"}, "cannot be reached (Redis on"),
        ([], {"RAG_CELERY_BROKER_PASSWORD": "wrong-one"}, "refuses the password"),
        ([], {"DAGSTER_HOME": ""}, "DAGSTER_HOME is not set"),
        ([], {"RAG_DATABASE_URL": ""}, "RAG_DATABASE_URL is not set"),
        (
            ["--queue", "dagster"],
            {},
            "there is no queue dagster: the queues are rag_processing and",
        ),
    ],
)
def test_a_worker_that_cannot_work_says_why(
    machine: Machine, options: list[str], changed: Mapping[str, str], told: str
) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "rag-assets"), "worker", *options],
        cwd=machine.folder,
        env={**plain_environment(), **machine.environment, **changed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    for secret in (PASSWORD, quote(PASSWORD, safe=""), "wrong-one"):
        assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "amqp://host",
        "redis:///0",
        "redis://:a@b@host/0",
        "redis://host:port/0",
        "redis://host/name",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_broker(load_settings(rag_celery_broker_url=url))
    assert url not in everything_shown(refused.value)


def test_tls_verifies_the_certificate_unless_told_otherwise() -> None:
    broker = open_broker(load_settings(rag_celery_broker_url="rediss://host:6380/1"))
    assert broker is not None
    assert broker.url.endswith("@host:6380/1?ssl_cert_reqs=required")


def test_each_lane_has_its_queue_and_what_has_none_goes_with_the_small_documents() -> None:
    lanes = ("rag_large_docs", "rag_processing", "rag_bible", None)
    assert [queue_of(lane) for lane in lanes] == ["rag_large_docs", *["rag_processing"] * 3]
    given = [{"dagster/priority": text} for text in ("5", "0", "-1", "high")]
    assert [priority_of(tags) for tags in (*given, {})] == [0, 3, 6, 3, 3]


def test_the_instance_is_that_of_one_machine_but_for_launcher_and_patience() -> None:
    one, several = (
        yaml.safe_load((ROOT / path).read_text("utf-8"))
        for path in ("dagster.yaml", "deploy/celery/dagster.yaml")
    )
    assert several.pop("run_launcher") == {
        "module": "rag_assets.defs.celery",
        "class": "LaneLauncher",
    }
    for name in ("max_user_code_failure_retries", "user_code_failure_retry_delay"):
        assert several["run_queue"].pop(name) > 0
    assert several["run_monitoring"].pop("start_timeout_seconds") > (
        one["run_monitoring"].pop("start_timeout_seconds")
    )
    assert several == one
