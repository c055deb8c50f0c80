"""Lanes and priorities by size: the boundaries."""

from __future__ import annotations

import pytest

from rag_assets.lanes import HIGH, LARGE, LOW, NORMAL, PROCESSING, lane_of, priority_of
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings


@pytest.mark.parametrize(
    ("size", "lane", "priority"),
    [
        (0, PROCESSING, HIGH),
        (5 * MB - 1, PROCESSING, HIGH),
        (5 * MB, PROCESSING, NORMAL),
        (10 * MB - 1, PROCESSING, NORMAL),
        (10 * MB, LARGE, NORMAL),
        (20 * MB - 1, LARGE, NORMAL),
        (20 * MB, LARGE, LOW),
        (200 * MB, LARGE, LOW),
    ],
)
def test_size_decides_the_lane_and_the_priority(size: int, lane: str, priority: int) -> None:
    settings = Settings()
    assert (lane_of(size, settings), priority_of(size, settings)) == (lane, priority)


def test_the_boundaries_are_settings() -> None:
    settings = Settings(
        rag_large_document_mb=0.5, rag_high_priority_below_mb=0, rag_low_priority_from_mb=0.5
    )
    assert (lane_of(MB // 2 - 1, settings), priority_of(0, settings)) == (PROCESSING, NORMAL)
    assert (lane_of(MB // 2, settings), priority_of(MB // 2, settings)) == (LARGE, LOW)
