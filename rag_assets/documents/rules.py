"""Which lane a document goes by, and how soon: decided by its size alone. Pure."""

from __future__ import annotations

from rag_assets.lanes import LARGE, PROCESSING, DocumentLane
from rag_assets.settings.model import Settings

ASKED_FOR, HIGH, NORMAL, LOW = 0, 1, 2, 3
"""Priorities: the lower the sooner. The first is given by a person only."""
PRIORITY_NAMES = {ASKED_FOR: "asked for", HIGH: "high", NORMAL: "normal", LOW: "low"}

MB = 2**20


def lane_of(size: int, settings: Settings) -> DocumentLane:
    """The lane of a document of ``size`` bytes: a large one has a lane, and a run, to itself."""
    return LARGE if size >= settings.rag_large_document_mb * MB else PROCESSING


def priority_of(size: int, settings: Settings) -> int:
    """The priority of a document of ``size`` bytes: the smaller the sooner."""
    if size < settings.rag_high_priority_below_mb * MB:
        return HIGH
    if size < settings.rag_low_priority_from_mb * MB:
        return NORMAL
    return LOW
