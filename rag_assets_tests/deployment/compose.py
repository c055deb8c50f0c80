"""Compose files as the tests read them: merged, with their variables filled in."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
HUB = ROOT / "deploy/celery/hub.yml"
WORKER = ROOT / "deploy/celery/worker.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}")
_NOTHING: Mapping[str, str] = {}


def compose(*files: Path, given: Mapping[str, str] = _NOTHING) -> dict[str, Any]:
    """The files, ``docker-compose.yml`` alone by default, merged as Compose does.

    :param given: what ``.env`` says; any other variable stands for its default.
    """
    whole: dict[str, Any] = {}
    for file in files or (FILE,):
        _merge(whole, _filled(yaml.safe_load(file.read_text("utf-8")), given))
    return whole


def services(*files: Path, given: Mapping[str, str] = _NOTHING) -> dict[str, dict[str, Any]]:
    """The services by name."""
    found: dict[str, dict[str, Any]] = compose(*files, given=given)["services"]
    return found


def ours(*files: Path, given: Mapping[str, str] = _NOTHING) -> dict[str, dict[str, Any]]:
    """Those that run this project's image."""
    return {name: one for name, one in services(*files, given=given).items() if "build" in one}


def environment(service: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """What a service's container has in its environment: what it sets itself wins over ``.env``."""
    reads = any(entry["path"] == ".env" for entry in service.get("env_file", ()))
    return {**(given if reads else {}), **service.get("environment", {})}


def compose_tool() -> list[str]:
    """Docker Compose 2.24 or newer; without it the test is skipped."""
    for tool in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(tool[0]) is None:
            continue
        asked = subprocess.run(
            [*tool, "version", "--short"], capture_output=True, text=True, check=False
        )
        version = re.match(r"v?(\d+)\.(\d+)", asked.stdout)
        if version is not None and (int(version[1]), int(version[2])) >= (2, 24):
            return tool
    pytest.skip("Docker Compose 2.24 or newer is not installed here")


def in_order() -> list[str]:
    """The services' names, each behind those that it waits for."""
    waiting = {name: set(one.get("depends_on", ())) for name, one in services().items()}
    ordered: list[str] = []
    while waiting:
        ready = sorted(name for name, needs in waiting.items() if needs <= set(ordered))
        assert ready, f"these wait for one another: {sorted(waiting)}"
        ordered += ready
        for name in ready:
            del waiting[name]
    return ordered


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {key: _filled(inner, given) for key, inner in value.items()}
        case list():
            return [_filled(inner, given) for inner in value]
        case str():
            return _VARIABLE.sub(lambda match: given.get(match[1]) or match[2] or "", value)
        case _:
            return value


def _merge(whole: dict[str, Any], more: dict[str, Any]) -> None:
    """Maps are joined, lists appended to; anything else is replaced."""
    for key, value in more.items():
        match whole.get(key), value:
            case dict() as known, dict():
                _merge(known, value)
            case list() as known, list():
                whole[key] = [*known, *value]
            case _:
                whole[key] = value
