"""Texts into requests: nothing lost, nothing too large, and a fault found by halving."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.embedding.batching import (
    MAX_INPUTS,
    Text,
    batches,
    estimate_tokens,
    halves,
    request_tokens,
    text_hash,
)

LARGEST = 270_000


def text_of(size: int, place: int = 0) -> Text:
    """A text of so many estimated tokens."""
    made = f"{place:04d}" * size
    return Text(text_hash(made), made)


texts = st.lists(st.integers(1, 400), max_size=60).map(
    lambda sizes: [text_of(size, place) for place, size in enumerate(sizes)]
)


@given(texts, st.integers(1, 20), st.integers(1, 900))
def test_batches_keep_the_order_and_lose_nothing(
    given_texts: list[Text], size: int, most: int
) -> None:
    made = list(batches(given_texts, size, max_tokens=most))
    assert [text for batch in made for text in batch] == given_texts


@given(texts, st.integers(1, 20), st.integers(1, 900))
def test_a_batch_is_never_too_large_unless_its_only_text_is(
    given_texts: list[Text], size: int, most: int
) -> None:
    for batch in batches(given_texts, size, max_tokens=most):
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or sum(text.estimated_tokens for text in batch) <= most


@given(texts, st.integers(1, 20), st.integers(1, 900))
def test_no_batch_could_have_taken_the_next_text(
    given_texts: list[Text], size: int, most: int
) -> None:
    made = list(batches(given_texts, size, max_tokens=most))
    for batch, following in pairwise(made):
        tokens = sum(text.estimated_tokens for text in (*batch, following[0]))
        assert len(batch) == size or tokens > most


def test_a_request_never_has_more_inputs_than_the_provider_allows() -> None:
    made = list(batches([text_of(1, place) for place in range(5000)], 5000))
    assert [len(batch) for batch in made] == [MAX_INPUTS, MAX_INPUTS, 5000 - 2 * MAX_INPUTS]


def test_a_request_stays_a_tenth_below_the_providers_tokens() -> None:
    made = list(batches([text_of(8000, place) for place in range(40)], 2048))
    assert [len(batch) for batch in made] == [33, 7]
    assert 33 * 8000 <= LARGEST < 34 * 8000


@pytest.mark.parametrize(
    ("per_minute", "most"), [(1_000_000_000, LARGEST), (1_000_000, 50_000), (100, 5), (1, 1)]
)
def test_a_request_takes_at_most_a_twentieth_of_a_minutes_tokens(
    per_minute: int, most: int
) -> None:
    assert request_tokens(per_minute) == most


@pytest.mark.parametrize(
    ("text", "tokens"), [("a", 1), ("abcd", 1), ("abcde", 2), ("é" * 4, 2), ("神" * 4, 3), ("", 1)]
)
def test_tokens_are_estimated_from_utf8_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.integers(2, 300))
def test_halves_are_two_that_make_the_whole(count: int) -> None:
    batch = tuple(text_of(1, place) for place in range(count))
    first, second = halves(batch)
    assert first + second == batch
    assert abs(len(first) - len(second)) <= 1


@given(st.integers(1, 300), st.data())
def test_halving_finds_a_single_text_in_few_steps(count: int, data: st.DataObject) -> None:
    batch = tuple(text_of(1, place) for place in range(count))
    bad = batch[data.draw(st.integers(0, count - 1))]
    steps = 0
    while len(batch) > 1:
        first, second = halves(batch)
        batch = first if bad in first else second
        steps += 1
    assert batch == (bad,)
    assert steps <= (count - 1).bit_length()
