"""Whether a check of recall has to be measured again.

Its queries are drawn with a fixed seed, so that the same vectors, the same search and the same
settings give the same result. Latency also depends on the machine, and live queries on what users
sent: these are always measured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as package_version
from pathlib import Path

from rag_assets.settings.index import IndexSettings
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import CheckResult

INPUTS = "inputs"
"""The figure that identifies what a result depends on."""

_REUSABLE = ("recall_at_10", "filtered_recall_at_10", "golden_queries")


def inputs_of(settings: Settings, *, revision: int, facts: Mapping[str, object]) -> str:
    """Hash what the result of a check of recall depends on.

    :param revision: of the table's vectors and texts; any change increments it.
    :param facts: the search that is judged: rows by version, index, probes, codes, candidates.
    """
    golden = settings.rag_golden_queries
    inputs = {
        "revision": revision,
        "facts": facts,
        "settings": settings.model_dump(mode="json", include=set(IndexSettings.model_fields)),
        "golden_queries": _digest(golden) if golden else None,
        "code": package_version("rag-assets"),
    }
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def reused(
    check: str,
    subject: str,
    results: Sequence[CheckResult],
    inputs: str,
    settings: Settings,
    now: datetime | None = None,
) -> CheckResult | None:
    """The last result, if measuring again would give the same one.

    It keeps its time, so that evidence still expires: from half of its maximum age on, it is
    measured again. A failure is always measured again.
    """
    if check not in _REUSABLE or (check == "recall_at_10" and settings.rag_live_queries):
        return None
    found = (one for one in results if (one.check, one.subject) == (check, subject))
    last = next(found, None)
    if last is None or not last.passed or last.measured.get(INPUTS) != inputs:
        return None
    age = (now or datetime.now(UTC)) - last.evaluated_at
    return last if age < timedelta(hours=settings.rag_evidence_max_age_h / 2) else None


def why_reused(result: CheckResult) -> str:
    """Say what was reused, and why that is sound."""
    return (
        f"reused from {result.evaluated_at:%Y-%m-%d %H:%M %Z}: since then neither the vectors, the "
        "way they are searched, nor the settings changed, and the queries are the same"
    )


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return type(error).__name__
