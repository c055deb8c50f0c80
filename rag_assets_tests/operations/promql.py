"""Expressions of the rules and dashboards, and the metrics that they use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
RULES = MONITORING / "rules.yml"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
TESTS = sorted((MONITORING / "tests").glob("*.yml"))
_WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "offset", "inf", "bool"}
_NOT_NAMES = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)'
)


@dataclass(frozen=True)
class Expression:
    """One expression and its location."""

    where: str
    text: str

    @property
    def metrics(self) -> frozenset[str]:
        """The series that it uses, including recorded ones, without functions and labels."""
        plain = _NOT_NAMES.sub(" ", self.text)
        words = re.findall(r"(?<![\w.:])[A-Za-z_][\w:]*(?![\w:]|\s*\()", plain)
        return frozenset(words) - _WORDS


@cache
def rules() -> list[dict[str, Any]]:
    """All rules of the file, in order."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> frozenset[str]:
    """Recorded series."""
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards by file."""
    return {path.name: json.loads(path.read_text("utf-8")) for path in DASHBOARDS}


def expressions() -> list[Expression]:
    """All of them."""
    return [*_expressions()]


def _expressions() -> Iterator[Expression]:
    for rule in rules():
        yield Expression(rule.get("alert") or rule["record"], rule["expr"])
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield Expression(f"{name}: {panel['title']}", target["expr"])
        queries = [one for one in dashboard["templating"]["list"] if one["type"] == "query"]
        for variable in queries:
            query = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
            assert query is not None
            yield Expression(f"{name}: ${variable['name']}", query.group(1))
