"""The vectors that are searched, each kind as a corpus of versions with held-out queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.codes import kinds
from benchmarks.codes.kinds import BIBLES, DIMENSIONS, embedded, fragments
from benchmarks.index.corpus import FIRST, SECOND, Corpus, made_corpus, real_corpus
from benchmarks.workload import SAMPLE
from rag_assets.bible.reader import read_bible

_QUERIES = 800
_SMOKE_VERSES, _SMOKE_DIMENSIONS = 1_500, 64


def raised(*, smoke: bool) -> Corpus:
    """Sentence vectors raised to 1,536 dimensions: four bits for each real one."""
    if smoke:
        return made_corpus(_SMOKE_VERSES, _SMOKE_DIMENSIONS // 4, _SMOKE_DIMENSIONS)
    return real_corpus(DIMENSIONS)


def original(*, smoke: bool) -> Corpus:
    """The same as the model made them: 384 dimensions."""
    if smoke:
        return made_corpus(_SMOKE_VERSES, _SMOKE_DIMENSIONS, _SMOKE_DIMENSIONS)
    return real_corpus(384)


def lexical(*, smoke: bool) -> Corpus:
    """Character n-grams of two whole Bibles, which do not cluster; queries are fragments."""
    paths = {FIRST: BIBLES / kinds.LEXICAL[0], SECOND: BIBLES / kinds.LEXICAL[3]}
    if smoke or not BIBLES.is_dir():
        paths = {FIRST: SAMPLE, SECOND: SAMPLE.with_name("PT_SAMPLE")}
    texts = {
        code: [verse.text for verse in read_bible(path).verses] for code, path in paths.items()
    }
    every = [text for own in texts.values() for text in own]
    return Corpus(
        "lexical vectors",
        {code: embedded(own) for code, own in texts.items()},
        np.ascontiguousarray(embedded(fragments(every, _QUERIES))),
        DIMENSIONS,
    )


KINDS: Mapping[str, Callable[..., Corpus]] = {
    "raised": raised,
    "original": original,
    "lexical": lexical,
}
