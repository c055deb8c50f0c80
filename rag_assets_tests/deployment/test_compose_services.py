"""Each of our services as the compose file starts it, in its order and with its environment.

Outside Docker, so that three things differ: the names of hosts, the ports, which are free ones, and
the folder of the secrets. The roles are those of ``sql/roles.sql``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from rag_assets.postgres import embedded
from rag_assets_tests.defs.deployment import free_port, stop
from rag_assets_tests.deployment.compose import ROOT, in_order, ours

pytestmark = pytest.mark.long

BIN = Path(sys.executable).parent
PORTS = ("3000", "4000", "8000", "9808")
TIMEOUT_S = 120.0
UP = re.compile(r'^rag_database_up\{database="(corpus|dagster)"\} 1', re.MULTILINE)


@dataclass
class Host:
    """A folder in the place of the containers' file system."""

    folder: Path
    server: str
    ports: dict[str, str] = field(default_factory=lambda: {old: str(free_port()) for old in PORTS})
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, service: dict[str, Any]) -> dict[str, str]:
        """The service's, and where its secrets are: with the names that the file gives them."""
        secrets = Path(tempfile.mkdtemp(dir=self.folder))
        for secret in service.get("secrets", ()):
            named = {"source": secret, "target": secret} if isinstance(secret, str) else secret
            shutil.copy(self.folder / "secrets" / named["source"], secrets / named["target"])
        given = {name: self.here(value) for name, value in service["environment"].items()}
        return {
            **given,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DAGSTER_HOME": str(self.folder),
            "RAG_SECRETS_DIR": str(secrets),
            "RAG_EMBEDDING_PROVIDER": "offline",
        }

    def here(self, word: str) -> str:
        """A word of the file with this host's names and ports."""
        word = re.sub(r"@database:5432/(\w+)", rf"@/\1?host={self.server}", word)
        word = word.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        for old, new in self.ports.items():
            word = re.sub(rf"(?<!\d){old}(?!\d)", new, word)
        return word

    def start(self, name: str, service: dict[str, Any]) -> None:
        """Start it; one that is to end is waited for."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [self.here(word) for word in service["command"]],
                cwd=self.folder,
                env=self.environment(service),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if "healthcheck" not in service:
            assert self.running.pop(name).wait(TIMEOUT_S) == 0, self.log(name)
            return
        command = [self.here(word) for word in service["healthcheck"]["test"][1:]]
        deadline = time.monotonic() + TIMEOUT_S
        while subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(service),
            capture_output=True,
            check=False,
        ).returncode:
            assert self.running[name].poll() is None, self.log(name)
            assert time.monotonic() < deadline, f"{name} is not healthy: {self.log(name)}"
            time.sleep(0.5)

    def log(self, name: str) -> str:
        """The end of what it printed."""
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")[-3000:]

    def get(self, port: str, path: str) -> httpx.Response:
        """Ask one of the services by its port in the file."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        return httpx.get(url, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="rag-compose-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = folder / "postgres"
        uri = embedded.ensure_running(postgres)
        stack.callback(embedded.release, postgres)
        shutil.copy(ROOT / "dagster.yaml", folder)
        shutil.copy(ROOT / "deploy/compose/make-secrets", folder)
        subprocess.run([folder / "make-secrets"], check=True, capture_output=True)
        made = Host(folder, str(postgres.resolve()))
        workspace = (ROOT / "deploy/compose/workspace.yaml").read_text("utf-8")
        (folder / "workspace.yaml").write_text(
            workspace.replace("host: code", "host: 127.0.0.1").replace("4000", made.ports["4000"])
        )
        _make_roles(folder, uri)
        try:
            for name in in_order():
                if name in ours():
                    made.start(name, ours()[name])
                    if name == "migrate":
                        _make_key(made)
            yield made
        finally:
            for process in made.running.values():
                stop(process)


def _make_roles(folder: Path, uri: str) -> None:
    """As deploy/compose/make-roles.sh does, with the embedded server's psql."""
    script = (ROOT / "deploy/compose/make-roles.sh").read_text("utf-8")
    script = script.replace("/run/secrets", str(folder / "secrets"))
    script = script.replace("/opt/roles.sql", str(ROOT / "sql/roles.sql"))
    script = script.replace("exec psql", f"exec '{embedded.binary('psql')}'")
    script = script.replace("--dbname=postgres", f"--dbname='{uri}'")
    subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "POSTGRES_USER": "postgres"},
        check=True,
        capture_output=True,
    )


def _make_key(host: Host) -> None:
    """Without one the API does not listen beyond loopback."""
    made = subprocess.run(
        ["rag-assets", "keys", "create", "compose"],
        cwd=host.folder,
        env=host.environment(ours()["webserver"]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def test_all_of_them_are_healthy_and_still_run(host: Host) -> None:
    assert set(host.running) == {"code", "webserver", "daemon", "watch", "api", "exporter"}
    assert [name for name, process in host.running.items() if process.poll() is not None] == []


def test_the_webserver_has_the_code_location(host: Host) -> None:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"
    answer = httpx.post(
        f"http://127.0.0.1:{host.ports['3000']}/graphql",
        json={"query": query},
        trust_env=False,
        timeout=60,
    ).json()
    entries = answer["data"]["workspaceOrError"]["locationEntries"]
    assert entries == [{"name": "rag_assets", "loadStatus": "LOADED"}]


def test_the_api_asks_for_a_key_and_serves_metrics(host: Host) -> None:
    assert host.get("8000", "/api/v1/ai/rag/retrieve?query=x").status_code == 401
    assert len(UP.findall(host.get("8000", "/metrics/prometheus/").text)) == 2


def test_the_exporter_tells_of_the_daemon_with_the_right_to_read_only(host: Host) -> None:
    text = host.get("9808", "/metrics/prometheus/").text
    assert len(UP.findall(text)) == 2
    assert "rag_daemon_heartbeat_age_seconds" in text


def test_their_logs_hold_no_secret(host: Host) -> None:
    logs = "".join(path.read_text("utf-8", "replace") for path in host.folder.glob("*.log"))
    for secret in (host.folder / "secrets").iterdir():
        if text := secret.read_text().strip():
            assert text not in logs, secret.name


def test_no_process_shows_a_secret_in_its_arguments_or_environment(host: Host) -> None:
    """Everybody on the machine sees the ones, and whoever is the same user the others."""
    secrets = {
        path.name: text
        for path in (host.folder / "secrets").iterdir()
        if (text := path.read_text().strip())
    }
    assert {"rag_database_password", "rag_api_password", "rag_monitor_password"} <= secrets.keys()
    seen = 0
    for service in host.running.values():
        for process in (
            psutil.Process(service.pid),
            *psutil.Process(service.pid).children(recursive=True),
        ):
            with suppress(psutil.NoSuchProcess):
                shown = " ".join([*process.cmdline(), *map(str, process.environ().items())])
                assert [name for name, text in secrets.items() if text in shown] == []
                seen += 1
    assert seen > len(host.running)  # code server, workers of the API and others beside them
