"""Vectors to index: real ones where they are at hand, else made ones; any number of versions.

The real ones (see the README beside them) are 384 components of every verse of two translations. A
fixed orthonormal matrix raises them to more dimensions and leaves every distance as it is. More
versions are near neighbours of these: each row moved by 0.35 in a random direction of the 384,
which leaves it at a cosine similarity of 0.94, as two translations of one verse have it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.workload import ROOT

REAL = ROOT.parent / "shared" / "data" / "embeddings"
FIRST, SECOND = "EN_KJV", "PT_BLIVRE"
_NOISE = 0.35
_SEED = 7
_CLUSTERS, _SPREAD, _MADE_QUERIES = 60, 0.7, 800

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """Two versions' vectors, and held-out queries; both raised to ``dimensions`` when asked for.

    :param versions: by code, float32, shape (verses, d), of length 1.
    :param held_out: float32, shape (n, d), none of them a row.
    """

    what: str
    versions: dict[str, Vectors]
    held_out: Vectors
    dimensions: int

    def blocks(self, rows: int) -> Iterator[tuple[str, Vectors]]:
        """Codes and vectors of so many rows, a version at a time, the same in every run."""
        left, edition = rows, 1
        while left > 0:
            for code, vectors in self.versions.items():
                if left <= 0:
                    return
                name = code if edition == 1 else f"{code[:2]}_NEAR{edition}"
                noise = _NOISE if edition > 1 else 0.0
                yield name, _moved(vectors[:left], noise, edition)
                left -= len(vectors)
            edition += 1

    def raised(self, vectors: Vectors) -> Vectors:
        """The same vectors in the corpus's dimensions."""
        return vectors if vectors.shape[1] == self.dimensions else vectors @ self._basis

    @cached_property
    def _basis(self) -> Vectors:
        """Orthonormal rows, the same in every run."""
        square = np.random.default_rng(_SEED).normal(size=(self.dimensions, self.held_out.shape[1]))
        basis: Vectors = np.linalg.qr(square)[0].T.astype(np.float32)
        return basis

    def queries(self, start: int, stop: int) -> Vectors:
        """Some of the held-out queries."""
        return self.raised(self.held_out[start:stop])


def real_corpus(dimensions: int) -> Corpus:
    """Every verse of two translations, and verses of a third as queries; made where missing."""
    if not REAL.is_dir():
        return made_corpus(31_102, 384, dimensions)
    versions = {code: _read(code) for code in (FIRST, SECOND)}
    return Corpus("real vectors", versions, _read("queries_EN_ASV"), dimensions)


def made_corpus(verses: int, own: int, dimensions: int) -> Corpus:
    """Clusters; the second version lies beside the first, as another language does."""
    draw = np.random.default_rng(_SEED)
    centres = _unit(draw.normal(size=(_CLUSTERS, own)))
    first = centres[draw.integers(_CLUSTERS, size=verses)]
    first = _moved(first, _SPREAD, 101)
    language = _unit(draw.normal(size=(1, own)))
    second = _moved(_unit(first + language), _SPREAD, 102)
    queries = _moved(first[draw.integers(verses, size=_MADE_QUERIES)], _SPREAD / 2, 103)
    return Corpus("made vectors", {FIRST: first, SECOND: second}, queries, dimensions)


def _read(name: str) -> Vectors:
    return _unit(np.load(REAL / f"{name}.minilm384.f16.npy").astype(np.float32))


def _moved(vectors: Vectors, distance: float, seed: int) -> Vectors:
    """Each moved by so much in a random direction, and brought back to length 1."""
    if not distance:
        return vectors
    noise = np.random.default_rng([_SEED, seed, len(vectors)]).normal(size=vectors.shape)
    return _unit(vectors + distance * _unit(noise))


def _unit(vectors: NDArray[np.floating]) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
