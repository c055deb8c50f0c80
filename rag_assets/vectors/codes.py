"""Binary codes of vectors: the signs of a fixed random rotation. Pure.

Two vectors at a small angle differ in few signs, so the nearest codes belong to the nearest
vectors, which are then ranked by exact distance. The signs of the original vectors are not enough:
most components of a sparse vector are zero, and in a narrow cone of directions most signs agree.

The rotation is two rounds of a randomized Hadamard transform, which cost a few microseconds per
vector; a dense matrix costs a millisecond. It depends only on the recipe, and is the same on every
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

_ROUNDS = 2  # after one, a vector with few non-zero components has few distinct values
_PART = 32
_MAX_MULTIPLICATIONS = 1 << 18  # up to which OpenBLAS computes a product on the calling thread


@dataclass(frozen=True)
class Recipe:
    """How the vectors of a space are encoded.

    :param dimensions: dimensions of the vectors.
    :param bits: length of the codes; bits beyond ``dimensions`` are further random projections.
    :param mean: float32, shape (dimensions,), subtracted first; ``None`` for none. It is the mean
        of the corpus when the recipe was chosen; it only matters that rows and queries share it.
    """

    dimensions: int
    bits: int
    mean: Vectors | None = field(default=None, compare=False)

    VERSION: ClassVar[int] = 1
    """Incremented when the same recipe would give different codes."""

    @cached_property
    def _block(self) -> int:
        """Width of one transform: the smallest power of two, at least 8, that fits a vector."""
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

        :param vectors: float32, shape (n, dimensions), of any norm but 0.
        :returns: float32, shape (n, bits).
        """
        return np.hstack([block.copy() for block in self._blocks(vectors)])

    def encode(self, vectors: Vectors) -> NDArray[np.uint8]:
        """The codes, eight bits per byte, most significant bit first, like PostgreSQL's ``bit(n)``.

        :param vectors: float32, shape (n, dimensions).
        :returns: uint8, shape (n, bits / 8 rounded up).
        """
        # The width of a block is a multiple of eight bits, so packed blocks can be concatenated.
        parts = [
            np.hstack([np.packbits(block > 0, axis=1) for block in self._blocks(part)])
            for part in _parts(vectors)
        ]
        return np.vstack(parts) if parts else np.zeros((0, -(-self.bits // 8)), dtype=np.uint8)

    def _blocks(self, vectors: Vectors) -> Iterator[Vectors]:
        """Yield the rotated vectors block by block; each must be used before the next is taken."""
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

    Computed as two small matrix products: the transform of width a · b is the one of width a along
    one axis of (a, b), then the one of width b along the other. Each product is small enough that
    BLAS stays on the calling thread: using others costs several times what it saves, and ten times
    as much if a server keeps the cores busy.

    :param vectors: float32, shape (n, power of two), contiguous.
    :param spare: of the same shape, overwritten.
    """
    rows, width = vectors.shape
    low = 1 << (width.bit_length() // 2)
    high = width // low
    batch = min(high, max(1, _MAX_MULTIPLICATIONS // low**2))
    pieces = (rows * high // batch, batch, low)
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
    """Split into parts whose projections fit a core's cache: 32 rows of 2,048 floats are 256 kB."""
    for start in range(0, len(vectors), _PART):
        yield vectors[start : start + _PART]
