"""Lanes: each run belongs to at most one, so that one kind of work never delays another.

A run's tag names its lane, and the settings limit the number of runs per lane. The lane and the
priority of a document depend only on its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

from rag_assets.errors import ConfigurationError
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings

DocumentLane = Literal["rag_processing", "rag_large_docs"]
Lane = Literal["rag_processing", "rag_large_docs", "rag_bible"]
SomeLane = TypeVar("SomeLane", bound=Lane)

PROCESSING: DocumentLane = "rag_processing"
LARGE: DocumentLane = "rag_large_docs"
BIBLE_LANE: Lane = "rag_bible"
DOCUMENT_LANES: tuple[DocumentLane, ...] = (PROCESSING, LARGE)
LANES: tuple[Lane, ...] = (*DOCUMENT_LANES, BIBLE_LANE)

LANE_TAG = "rag/lane"

ASKED_FOR, HIGH, NORMAL, LOW = 0, 1, 2, 3
"""Priorities: lower numbers first. Only an operator assigns the first one."""
PRIORITY_NAMES = {ASKED_FOR: "asked for", HIGH: "high", NORMAL: "normal", LOW: "low"}


def known_lane(name: str, lanes: Sequence[SomeLane]) -> SomeLane:
    """The lane with this name, among ``lanes``.

    :raises ConfigurationError: there is none; names the existing ones.
    """
    for lane in lanes:
        if lane == name:
            return lane
    raise ConfigurationError(f"there is no lane {name}: it is one of {', '.join(lanes)}")


def lane_of(size: int, settings: Settings) -> DocumentLane:
    """The lane of a document of ``size`` bytes: large ones have their own lane, one per run."""
    return LARGE if size >= settings.rag_large_document_mb * MB else PROCESSING


def runs_at_once(settings: Settings) -> Mapping[Lane, int]:
    """How many runs to keep queued or running per lane; ``dagster.yaml`` limits it."""
    return {
        PROCESSING: settings.rag_document_runs,
        LARGE: settings.rag_large_document_runs,
        BIBLE_LANE: settings.rag_bible_runs,
    }


def priority_of(size: int, settings: Settings) -> int:
    """The priority of a document of ``size`` bytes: smaller ones first."""
    if size < settings.rag_high_priority_below_mb * MB:
        return HIGH
    if size < settings.rag_low_priority_from_mb * MB:
        return NORMAL
    return LOW
