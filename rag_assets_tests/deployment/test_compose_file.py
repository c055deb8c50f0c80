"""The compose file and the image's recipe, as far as they can be judged without an engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from rag_assets.cli.main import app
from rag_assets.postgres.pgvector_faults import NEWEST
from rag_assets.settings.model import Settings
from rag_assets_tests.deployment.compose import (
    FILE,
    HUB,
    ROOT,
    compose,
    compose_tool,
    ours,
    services,
)

THEIRS = {"DAGSTER_", "GF_", "POSTGRES_", "LOGIN_", "RAG_SECRETS_DIR"}
SECRETS = ROOT / "deploy" / "compose" / "secrets"


def test_the_tools_accept_both_files(tmp_path: Path) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    checked = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    tool = compose_tool()
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(FILE, folder)
    shown = subprocess.run(
        [*tool, "config", "--quiet"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr


def test_every_file_that_is_mounted_is_there() -> None:
    named = compose()
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                made = source in ("./bibles", "./inbox")  # folders that Docker makes
                assert made or (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in named["volumes"], f"{name}: {source}"
        for secret in service.get("secrets", ()):
            source = secret if isinstance(secret, str) else secret["source"]
            assert source in named["secrets"], f"{name}: {source}"


def test_the_secrets_are_made_once_and_only_their_owner_may_look_for_them(tmp_path: Path) -> None:
    script = tmp_path / "make-secrets"
    shutil.copy(ROOT / "deploy/compose/make-secrets", script)
    subprocess.run([script], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    wanted = {Path(one["file"]).name for one in compose()["secrets"].values()}
    assert set(made) == wanted | {"rag_celery_broker_password"}  # of deploy/celery
    assert len({text for text in made.values() if text}) == 6  # the others are for you to fill
    assert folder.stat().st_mode & 0o077 == 0
    (folder / "openai_api_key").chmod(0o600)
    (folder / "openai_api_key").write_text("mine")
    subprocess.run([script], check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made | {
        "openai_api_key": "mine"
    }


def test_no_secret_stands_in_an_environment_a_command_or_the_image() -> None:
    for name, service in services().items():
        told = [str(service.get("command", "")), *map(str, service.get("environment", {}).items())]
        for line in told:
            key = line.split("'")[1] if line.startswith("('") else ""
            named = "password" in line.lower() and not key.endswith(("_FILE", "__FILE"))
            hidden = named and not line.endswith(", '')")  # unset, whatever .env says
            assert not hidden, f"{name}: {line}"
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {"deploy/compose/secrets", ".env", ".git", ".rag"} <= set(ignored)


def test_every_variable_of_ours_is_a_setting() -> None:
    known = {name.upper() for name in Settings.model_fields}
    for name, service in services().items():
        for variable in service.get("environment", {}):
            assert variable in known or any(variable.startswith(one) for one in THEIRS), (
                f"{name}: {variable}"
            )


def test_a_file_of_a_secret_is_named_like_its_setting() -> None:
    for name, service in ours().items():
        for secret in service.get("secrets", ()):
            target = secret if isinstance(secret, str) else secret["target"]
            assert target in Settings.model_fields, f"{name}: {target}"


def test_nothing_is_published_beyond_loopback() -> None:
    for name, service in services().items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_every_service_is_bounded_and_comes_back() -> None:
    for name, service in services().items():
        assert service["mem_limit"], name
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        assert service["logging"]["options"], name
        tag = service["image"].rpartition(":")[2]
        assert tag, name
        assert name in ours() or tag != "latest", name
        if name not in ("migrate", "alerting", "grafana", "login"):
            assert service["healthcheck"]["test"][0] == "CMD", name
    for name, service in ours().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


@pytest.mark.parametrize(
    ("service", "fixed_in"),
    [
        ("database", NEWEST),
        ("redis", "7.4.9"),  # CVE-2026-23479
        ("login", "2.11.4"),
        ("grafana", "13.0.0"),  # 12.1 is no longer supported
        ("prometheus", "3.13.1"),  # of the line with long-term support
    ],
)
def test_no_image_has_a_fault_that_a_newer_one_fixes(service: str, fixed_in: str) -> None:
    tag = services(FILE, HUB)[service]["image"].rpartition(":")[2]
    version = re.match(r"v?([\d.]+)", tag)
    assert version is not None
    assert _parts(version[1]) >= _parts(fixed_in), tag


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_every_command_of_ours_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, service in ours().items():
        words = service["command"]
        if words[0] == "rag-assets":
            options = {one for parameter in commands[words[1]].params for one in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, name
        program = Path(sys.executable).parent / words[0]
        assert words[0] == "sh" or program.exists(), f"{name}: {words[0]}"
