"""The lanes: each run belongs to one at most, so that one kind of work never holds up another.

A run's tag says which lane it is in; ``dagster.yaml`` limits how many runs of each are at work.
Which lane a document goes by is decided in :mod:`rag_assets.documents.rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from rag_assets.errors import ConfigurationError

DocumentLane = Literal["rag_processing", "rag_large_docs"]
Lane = DocumentLane | Literal["rag_bible"]
SomeLane = TypeVar("SomeLane", bound=Lane)

PROCESSING: DocumentLane = "rag_processing"
LARGE: DocumentLane = "rag_large_docs"
BIBLE_LANE: Lane = "rag_bible"
DOCUMENT_LANES: tuple[DocumentLane, ...] = (PROCESSING, LARGE)
LANES: tuple[Lane, ...] = (*DOCUMENT_LANES, BIBLE_LANE)

LANE_TAG = "rag/lane"


def known_lane(name: str, lanes: Sequence[SomeLane]) -> SomeLane:
    """The lane of this name, of those that may be meant.

    :raises ConfigurationError: there is none; names those that there are.
    """
    for lane in lanes:
        if lane == name:
            return lane
    raise ConfigurationError(f"there is no lane {name}: it is one of {', '.join(lanes)}")
