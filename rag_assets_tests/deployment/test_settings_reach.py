"""Every setting reaches every service that reads it, from one place.

That place is ``.env`` for compose, ``worker.env`` for a worker without Docker, and the ConfigMap in
a cluster. What does not come from there is listed here and in ``docs/deployment.md``; everything
else follows from :class:`Settings`.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from rag_assets.settings.model import Settings
from rag_assets_tests.deployment import chart
from rag_assets_tests.deployment.compose import (
    FILE,
    HUB,
    ROOT,
    WORKER,
    compose,
    environment,
    ours,
    services,
)
from rag_assets_tests.deployment.test_kubernetes import containers, kind

SETTINGS = frozenset(name.upper() for name in Settings.model_fields)
SECRETS = frozenset(
    name.upper()
    for name, field in Settings.model_fields.items()
    if SecretStr in (field.annotation, *typing.get_args(field.annotation))
)
WITHOUT_FILE = {"RAG_DATABASE_URL", "RAG_CELERY_BROKER_URL", "RAG_MCP_API_KEY"}
"""The first two are fixed by the file; the last one is read by a client's own process."""
FIXED = {"RAG_DATABASE_URL", "RAG_DATABASE_POOLED", "RAG_HOME", "RAG_BIBLES_DIR"}
"""What the compose files set themselves: the database's address and the containers' folders."""
BY_COMMAND = {"RAG_API_HOST", "RAG_API_PORT", "RAG_EXPORTER_HOST", "RAG_EXPORTER_PORT"}
"""They reach the services, whose commands name hosts and ports of their own."""
WRITTEN = {name: f"of {name}" for name in SETTINGS}
"""A ``.env`` that sets everything."""
COMPOSED = [
    pytest.param((FILE,), id="compose"),
    pytest.param((FILE, HUB), id="hub"),
    pytest.param((WORKER,), id="worker"),
]


def not_reached(given: Mapping[str, str]) -> set[str]:
    """Settings whose value in an environment is not the one written down."""
    return {name for name in SETTINGS if given.get(name) != WRITTEN[name]}


@pytest.mark.parametrize("files", COMPOSED)
def test_what_env_says_reaches_every_service_but_what_the_file_fixes(
    files: tuple[Path, ...],
) -> None:
    assert ours(*files)
    for name, service in ours(*files, given=WRITTEN).items():
        assert not_reached(environment(service, WRITTEN)) == FIXED | SECRETS, name


@pytest.mark.parametrize("files", COMPOSED)
def test_a_secret_that_stands_in_env_goes_into_no_container(files: tuple[Path, ...]) -> None:
    hidden = {name: f"hidden {name}" for name in (*SECRETS, "LOGIN_HASH")}
    for name, service in services(*files, given=hidden).items():
        if name == "login":
            continue  # its own hash
        shown = json.dumps([environment(service, hidden), service.get("command")])
        assert [value for value in hidden.values() if value in shown] == [], name


def test_every_secret_of_a_service_of_compose_can_be_a_file() -> None:
    whole = compose(FILE, HUB)
    files = {name.upper() for name in whole["secrets"]}
    assert files >= SECRETS - WITHOUT_FILE
    given = {
        (secret if isinstance(secret, str) else secret["target"]).upper()
        for service in ours(FILE, HUB).values()
        for secret in service.get("secrets", ())
    }
    assert given >= SECRETS - WITHOUT_FILE


def test_a_service_started_with_its_environment_has_the_settings(tmp_path: Path) -> None:
    written = {
        "PG_IVFFLAT_PROBES": "13",
        "RAG_EMBEDDING_BATCH_SIZE": "77",
        "RAG_BACKFILL_BUDGET_USD": "2.5",
        "RAG_TIMEZONE": "",  # the default
        "RAG_HOME": "/of/the/host",
        "RAG_SECRETS_DIR": "/of/the/host",
        "OPENAI_API_KEY": "sk-left-in-env",
    }
    (tmp_path / "openai_api_key").write_text("sk-of-the-file\n")
    shown = """
import json
from rag_assets.settings.model import load_settings
found = load_settings()
print(json.dumps([found.pg_ivfflat_probes, found.rag_embedding_batch_size,
    found.rag_backfill_budget_usd, found.rag_timezone, str(found.rag_home), found.api_keys()]))
"""
    for name, service in ours(given=written).items():
        done = subprocess.run(
            [sys.executable, "-c", shown],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                **environment(service, written),
                "RAG_SECRETS_DIR": str(tmp_path),  # /run/secrets there
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == [
            13,
            77,
            2.5,
            "America/Sao_Paulo",
            ".rag",
            ["sk-of-the-file"],
        ], name


def test_a_worker_without_docker_reads_worker_env_and_sets_no_setting_itself() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy/celery/rag-assets-worker.service")
    assert unit["Service"]["EnvironmentFile"] == "/etc/rag_assets/worker.env"
    itself = {word.split("=")[0] for word in shlex.split(unit["Service"]["Environment"])}
    assert itself & SETTINGS == set()


def test_the_config_map_reaches_every_pod_but_for_the_address_of_its_role() -> None:
    named = set()
    for name, container in containers():
        if "busybox" in container["image"]:
            continue
        sources = [source["configMapRef"]["name"] for source in container["envFrom"]]
        assert "rag-settings" in sources, name
        itself = {variable["name"] for variable in container.get("env", ())}
        assert itself & SETTINGS <= {"RAG_DATABASE_URL"}, name
        named.add(name)
    assert named == {"rag-api", "rag-exporter", "rag-migrate", "webserver", "daemon", "code", "run"}
    assert set(kind("ConfigMap")["rag-settings"]["data"]) & SECRETS <= {"RAG_DATABASE_URL"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("run_queue: {max_concurrent_runs: {env: A}}", {"A"}),
        ("storage: {postgres: {password: {env: B}}, list: [{env: C}]}", {"B", "C"}),
        ("run_queue: {max_concurrent_runs: 6}", set()),
    ],
)
def test_variables_are_found_wherever_a_dagster_yaml_asks_for_them(
    text: str, names: set[str]
) -> None:
    assert set(variables(yaml.safe_load(text))) == names


@pytest.mark.parametrize("path", ["dagster.yaml", "deploy/celery/dagster.yaml"])
def test_what_a_dagster_yaml_takes_from_the_environment_is_a_setting(path: str) -> None:
    """A setting reaches all services, and so does what Dagster reads then."""
    asked = set(variables(yaml.safe_load((ROOT / path).read_text("utf-8"))))
    assert asked <= SETTINGS - SECRETS - FIXED


def test_what_the_charts_dagster_yaml_takes_from_the_environment_is_given_to_its_pods() -> None:
    asked = set(variables(chart.instance()))
    assert asked == {"DAGSTER_PG_PASSWORD"}
    for name, pod in chart.pods().items():
        (container,) = pod["spec"]["template"]["spec"]["containers"]
        assert asked <= {variable["name"] for variable in container["env"]}, name


def test_the_guide_lists_what_does_not_come_from_env() -> None:
    text = (ROOT / "docs/deployment.md").read_text("utf-8")
    of_compose, _ = text.split("\n## Several machines\n")
    (section,) = re.findall(r"\n\*\*Settings\.\*\* .*?(?=\n\*\*[A-Z])", of_compose, re.DOTALL)
    assert set(re.findall(r"`((?:RAG|OPENAI|SLACK)_\w+)`", section)) >= FIXED | BY_COMMAND | SECRETS


def variables(config: Any) -> Iterator[str]:
    """Names that a dagster.yaml asks the environment for, as ``{env: NAME}``."""
    match config:
        case {"env": str(name)}:
            yield name
        case dict():
            for value in config.values():
                yield from variables(value)
        case list():
            for value in config:
                yield from variables(value)
