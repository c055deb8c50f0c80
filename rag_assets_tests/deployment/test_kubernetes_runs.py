"""A run as Dagster launches it with the chart's own dagster.yaml, and as it tells of its end.

The instance, its database and the launch are real; in the cluster's place a server takes down what
it is asked to make.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml

from rag_assets.defs.dagster_private import fault_of
from rag_assets.lanes import LANE_TAG, LARGE
from rag_assets.operations.sql.dagster_state import ProcessFault, runs_under_way
from rag_assets.postgres.database import Database
from rag_assets_tests.deployment import chart

pytestmark = pytest.mark.long


class Cluster(ThreadingHTTPServer):
    """Takes down every object that it is asked to make, as Kubernetes' API would.

    Of each it then tells that its pod needed more memory than its limit.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.made: list[tuple[str, dict[str, Any]]] = []

    def told(self, path: str) -> dict[str, Any]:
        """The answer to a question."""
        if "/pods" in path:
            killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
            container = {"name": "dagster", "state": killed, "ready": False, "restartCount": 0}
            container |= {"image": chart.IMAGE, "imageID": chart.IMAGE}
            pod = {
                "metadata": {"name": "run-pod"},
                "spec": {"containers": [{"name": "dagster"}]},
                "status": {"phase": "Failed", "containerStatuses": [container]},
            }
            return {"apiVersion": "v1", "kind": "PodList", "items": [pod]}
        if "/events" in path:
            return {"apiVersion": "v1", "kind": "EventList", "items": []}
        return self.made[-1][1] | {"status": {"failed": 1}}


class _Requests(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.made.append((self.path, json.loads(body)))
        self._answer(201, body)

    def do_GET(self) -> None:
        self._answer(200, json.dumps(self.server.told(self.path)).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    server = Cluster()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def dagster_home(folder: Path, cluster: Cluster, dagster: Database) -> None:
    """The chart's dagster.yaml, with this machine's database and the cluster above.

    Runs are launched at once: no daemon looks after the queue here.
    """
    server = {"server": f"http://127.0.0.1:{cluster.server_port}"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "here", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    instance = deepcopy(chart.instance())
    instance["run_launcher"]["config"] |= {
        "load_incluster_config": False,
        "kubeconfig_file": str(folder / "kubeconfig"),
    }
    instance["run_coordinator"] = {
        "module": "dagster.core.run_coordinator",
        "class": "DefaultRunCoordinator",
    }
    instance["local_artifact_storage"]["config"]["base_dir"] = str(folder / "artifacts")
    parts = dagster.parameters()
    for storage in ("run_storage", "event_log_storage", "schedule_storage"):
        instance[storage]["config"]["postgres_db"] |= {
            "hostname": "",
            "username": parts["user"],
            "db_name": dagster.name,
            "params": {"host": parts["host"]},
        }
    (folder / "dagster.yaml").write_text(yaml.safe_dump(instance))


def _told_by_the_monitor(home: Path) -> str:
    """What Dagster's monitoring of runs would write of the one run: from its launcher's words."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        health = instance.run_launcher.check_run_worker_health(run)
        assert health.status.name == "FAILED"
        told = instance.run_launcher.get_run_worker_debug_info(run, include_container_logs=False)
        return f"Detected run worker status {health}.\n{told}"


def test_a_run_is_a_job_with_what_its_lane_has_and_its_end_is_understood(
    tmp_path: Path, cluster: Cluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster = database.named(f"{database.name}_dagster")
    dagster.create()
    dagster_home(tmp_path, cluster, dagster)
    subprocess.run(
        [
            *(Path(sys.executable).parent / "dagster", "job", "launch"),
            *("--module-name", "rag_assets.definitions", "--job", "document_processing"),
            *("--tags", json.dumps({LANE_TAG: LARGE})),
            *("--config-json", json.dumps({"ops": {"document_lane": {"config": {"lane": LARGE}}}})),
        ],
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path),
            "DAGSTER_PG_PASSWORD": "hidden",
            "DAGSTER_CURRENT_IMAGE": chart.IMAGE,
            "RAG_DATABASE_URL": f"postgresql:///{database.name}?host={database.parameters()['host']}",
        },
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    ((path, job),) = cluster.made
    assert path == "/apis/batch/v1/namespaces/rag-assets/jobs"
    for version in chart.VERSIONS:
        kubernetes_validate.validate(job, version, strict=True)
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    lanes = chart.instance()["run_launcher"]["config"]["lanes"]
    assert container["resources"] == lanes[LARGE]["container_config"]["resources"]
    assert container["image"] == chart.IMAGE
    assert container["securityContext"] == chart.SECURE
    assert spec["securityContext"]["runAsUser"] == 10001
    wanted = {mount["mountPath"] for mount in chart.run_pod()["containers"][0]["volumeMounts"]}
    assert wanted <= {mount["mountPath"] for mount in container["volumeMounts"]}
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    assert "hidden" not in json.dumps(job)
    with dagster.connect() as connection:
        (run,) = runs_under_way(connection)
    assert (run.job, run.lane) == ("document_processing", LARGE)
    monkeypatch.setenv("DAGSTER_PG_PASSWORD", "hidden")
    assert fault_of(_told_by_the_monitor(tmp_path)) == ProcessFault("killed by signal 9", 9)
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {dagster.name} WITH (FORCE)")
