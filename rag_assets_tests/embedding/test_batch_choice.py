"""Whether texts go into a batch: size, what the last batch left open, and what the provider has."""

from __future__ import annotations

import pytest

from rag_assets.embedding.batch_choice import Requests, choose
from rag_assets.errors import ConfigurationError
from rag_assets_tests.conftest import MakeSettings


@pytest.mark.parametrize(
    ("requests", "texts", "attempt", "has_batches", "batch", "why"),
    [
        ("live", 9_000, 1, True, False, "live, as chosen"),
        ("auto", 4_999, 1, True, False, "live: 4,999 texts, fewer than 5,000"),
        ("auto", 5_000, 1, True, True, "by batch: 5,000 texts that can wait a day"),
        ("auto", 5_000, 2, True, False, "live: overdue"),
        ("auto", 5_000, 1, False, False, "live: the provider has no batches"),
        ("batch", 1, 2, True, True, "by batch: 1 text that"),
        ("batch", 1, 3, True, False, "live: overdue"),
    ],
)
def test_the_choice_says_why(
    make_settings: MakeSettings,
    requests: Requests,
    texts: int,
    attempt: int,
    has_batches: bool,
    batch: bool,
    why: str,
) -> None:
    choice = choose(make_settings(), requests, texts, attempt, lambda _: has_batches)
    assert choice.batch is batch
    assert choice.why.startswith(why)


def test_a_batch_of_a_provider_that_has_none_is_refused(make_settings: MakeSettings) -> None:
    with pytest.raises(ConfigurationError, match="none for this key: use `--requests live`"):
        choose(make_settings(), "batch", 9, 1, lambda _: False)
