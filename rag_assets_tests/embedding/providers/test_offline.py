"""The embedder without a provider: the same each time, and near for texts that share words."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from rag_assets.embedding.embedder import Answer
from rag_assets.embedding.providers.offline import OfflineEmbedder
from rag_assets.vectors.sql.spaces import OFFLINE_MODEL, SpaceSpec

TEXTS = [
    "In the beginning God created the heaven and the earth.",
    "At the beginning God made heavens and earth!",
    "The servants brought seven baskets of figs to market",
]


def embed(texts: list[str], dimensions: int = 1536) -> Answer:
    spec = SpaceSpec("offline", OFFLINE_MODEL, dimensions, "halfvec")
    return asyncio.run(OfflineEmbedder().embed(texts, spec, "", "passage"))


@pytest.mark.parametrize("dimensions", [1, 256, 1536, 3072])
def test_vectors_have_the_dimension_asked_for_and_length_one(dimensions: int) -> None:
    answer = embed(TEXTS, dimensions)
    assert answer.vectors.shape == (3, dimensions)
    assert answer.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(answer.vectors, axis=1), 1, atol=1e-6)
    assert (answer.tokens, dict(answer.refused)) == (0, {})


def test_vectors_are_the_same_in_every_process() -> None:
    script = (
        "import sys; from rag_assets_tests.embedding.providers import test_offline as t;"
        "sys.stdout.write(t.embed(t.TEXTS).vectors.tobytes().hex())"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert bytes.fromhex(said) == embed(TEXTS).vectors.tobytes()


def test_a_texts_vector_does_not_depend_on_its_company() -> None:
    together = embed(TEXTS).vectors
    assert np.array_equal(embed(TEXTS[1:2]).vectors[0], together[1])
    assert np.array_equal(embed(TEXTS[::-1]).vectors[::-1], together)


def test_texts_that_share_words_are_nearer_than_others() -> None:
    first, near, far = embed(TEXTS).vectors
    assert first @ near > 0.3
    assert first @ near > 2 * (first @ far)


def test_case_and_accents_do_not_matter() -> None:
    one, other = embed(["No princípio criou Deus", "NO PRINCIPIO CRIOU DEUS"]).vectors
    assert np.allclose(one, other)


def test_a_text_without_any_letter_pattern_is_refused_and_the_rest_goes_on() -> None:
    answer = embed(["", TEXTS[0]])
    assert dict(answer.refused) == {0: "the provider answered a zero vector"}
    assert not answer.vectors[0].any()
    assert np.linalg.norm(answer.vectors[1]) == pytest.approx(1, abs=1e-6)


def test_it_needs_no_key_and_is_not_limited() -> None:
    embedder = OfflineEmbedder()
    assert (embedder.endpoint, embedder.keys, embedder.limited) == ("offline", ("",), False)
