"""Whether a new model may serve, by the golden queries that it and the one in use answer."""

from __future__ import annotations

import pytest

from rag_assets.index.golden_spaces import GoldenHits
from rag_assets.operations.model_change import check_hits

SERVED = GoldenHits(asked=46, found=46, across=46, found_across=19)


@pytest.mark.parametrize(
    ("wanted", "against"),
    [
        (GoldenHits(46, 45, 46, 38), ""),
        (GoldenHits(46, 46, 46, 19), ""),
        (GoldenHits(46, 45, 46, 19), "answers 64 of 92 golden queries, the one that serves 65"),
        (None, ""),
    ],
)
def test_a_model_that_answers_fewer_of_the_same_queries_should_not_serve(
    wanted: GoldenHits | None, against: str
) -> None:
    reason = check_hits(SERVED, wanted)
    assert against in reason
    assert bool(reason) == bool(against)
