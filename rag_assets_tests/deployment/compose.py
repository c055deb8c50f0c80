"""``docker-compose.yml`` as the tests read it: merged, with its variables' defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def compose() -> dict[str, Any]:
    """The whole file; each variable stands for its default."""
    loaded = yaml.safe_load(FILE.read_text("utf-8"))
    filled: dict[str, Any] = _filled(loaded)
    return filled


def services() -> dict[str, dict[str, Any]]:
    """The services by name."""
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """Those that run this project's image."""
    return {name: one for name, one in services().items() if "build" in one}


def variables() -> set[str]:
    """All variables that the file asks the environment for."""
    return {match[1] for match in _VARIABLE.finditer(FILE.read_text("utf-8"))}


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


def _filled(value: Any) -> Any:
    match value:
        case dict():
            return {key: _filled(inner) for key, inner in value.items()}
        case list():
            return [_filled(inner) for inner in value]
        case str():
            return _VARIABLE.sub(lambda match: match[2] or "", value)
        case _:
            return value
