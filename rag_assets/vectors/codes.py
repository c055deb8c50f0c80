"""Binary codes of vectors: the signs of a fixed random rotation. Pure.

Two vectors at a small angle differ in few signs, so that the nearest codes hold the nearest
vectors; the exact distance then orders them. The signs of the vectors as they are will not do: of a
sparse vector most components are zero, and in a narrow cone of directions most signs are the same.

The rotation is a randomized Hadamard transform, twice, which costs a few microseconds per vector
where a dense matrix costs a millisecond. It depends on nothing but the recipe: the same on every
machine and in every version of NumPy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_ROUNDS = 2  # one leaves vectors of few components with few different values
_PART = 32
_ALONE = 1 << 18  # multiplications of one product, up to which OpenBLAS uses no other thread


@dataclass(frozen=True)
class Recipe:
    """How the vectors of a space become codes.

    :param dimensions: of the vectors.
    :param bits: of the codes; more than ``dimensions`` are further random projections.
    :param mean: float32, shape (dimensions,), subtracted first; ``None`` for none. It is the
        corpus's at the time of choosing: what counts is that rows and queries share it.
    """

    dimensions: int
    bits: int
    mean: Vectors | None = field(default=None, compare=False)

    VERSION: ClassVar[int] = 1
    """Raised when the same recipe would give other codes."""

    @cached_property
    def _block(self) -> int:
        """Width of one transform: the next power of two, at least 8, that holds a vector."""
        return max(8, 1 << (self.dimensions - 1).bit_length())

    @cached_property
    def _signs(self) -> Vectors:
        """Random signs, float32, shape (transforms, rounds, block)."""
        transforms = -(-self.bits // self._block)
        shape = (transforms, _ROUNDS, self._block)
        raw = hashlib.shake_256(f"rag codes {self.VERSION}".encode()).digest(
            transforms * _ROUNDS * self._block // 8
        )
        signs: Vectors = (
            np.unpackbits(np.frombuffer(raw, dtype=np.uint8)).reshape(shape).astype(np.float32) * 2
            - 1
        )
        return signs

    def project(self, vectors: Vectors) -> Vectors:
        """The rotated vectors, whose signs are the codes.

        :param vectors: float32, shape (n, dimensions), of any length but 0.
        :returns: float32, shape (n, bits).
        """
        return np.hstack([block.copy() for block in self._blocks(vectors)])

    def encode(self, vectors: Vectors) -> NDArray[np.uint8]:
        """The codes, eight bits a byte, the first bit highest, as PostgreSQL keeps ``bit(n)``.

        :param vectors: float32, shape (n, dimensions).
        :returns: uint8, shape (n, bits / 8 rounded up).
        """
        # A block is a multiple of eight bits wide, so that packed blocks stand side by side.
        parts = [
            np.hstack([np.packbits(block > 0, axis=1) for block in self._blocks(part)])
            for part in _parts(vectors)
        ]
        return np.vstack(parts) if parts else np.zeros((0, -(-self.bits // 8)), dtype=np.uint8)

    def _blocks(self, vectors: Vectors) -> Iterator[Vectors]:
        """The rotated vectors, block by block, each to be used before the next is asked for."""
        padded = np.zeros((len(vectors), self._block), dtype=np.float32)
        padded[:, : self.dimensions] = vectors if self.mean is None else vectors - self.mean
        # Two buffers for all rounds: fresh ones cost as much as the arithmetic.
        found, spare = np.empty_like(padded), np.empty_like(padded)
        for place, (first, *others) in enumerate(self._signs):
            np.multiply(padded, first, out=found)
            hadamard(found, spare)
            for each in others:
                np.multiply(found, each, out=found)
                hadamard(found, spare)
            yield found[:, : self.bits - place * self._block]


def hadamard(vectors: Vectors, spare: Vectors) -> None:
    """Replace each row by its Walsh-Hadamard transform, not normalised.

    As two small matrix products, because the transform of width a · b is the one of width a along
    one axis of (a, b) and the one of width b along the other. Each product is small enough for BLAS
    to stay on the calling thread: what it hands to others costs several times as much as it saves,
    and ten times beside a server that keeps the cores busy.

    :param vectors: float32, shape (n, power of two), contiguous.
    :param spare: of the same shape, overwritten.
    """
    rows, width = vectors.shape
    low = 1 << (width.bit_length() // 2)
    high = width // low
    few = min(high, max(1, _ALONE // low**2))
    pieces = (rows * high // few, few, low)
    np.matmul(vectors.reshape(pieces), _matrix(low), out=spare.reshape(pieces))
    square = (rows, high, low)
    np.matmul(_matrix(high), spare.reshape(square), out=vectors.reshape(square))


@lru_cache(maxsize=16)
def _matrix(width: int) -> Vectors:
    matrix = np.ones((1, 1), dtype=np.float32)
    while len(matrix) < width:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _parts(vectors: Vectors) -> Iterator[Vectors]:
    """In parts whose projections stay in a core's cache: 32 rows of 2,048 components are 256 kB."""
    for start in range(0, len(vectors), _PART):
        yield vectors[start : start + _PART]
