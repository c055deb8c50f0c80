"""Vectors by which a search can be right or wrong: texts that share words lie near each other.

Deterministic by text, on every run and in every process. Only the mathematics belongs here;
models' names, requests and answers do not.

A word is a sum of random directions: its own, and those of its first 3, 4 and 6 letters, so that
``walk`` is near ``walked``. A text is the sum of its words, with the very common and the very
short damped. To this are added one direction shared by all texts, because real embeddings have a
common mean too (unrelated texts then lie near a cosine of 0.2), and a faint one of the exact
text, so that two different texts never have the same vector. All this is done in 192 dimensions,
which are then spread over the model's by one fixed matrix: it costs half of doing it in 1,536.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# A direction is a window into one long random sequence: 4 million of them cost 16 MB, while a
# table of as many rows would cost 3 GB. Windows at different offsets are uncorrelated.
RANK = 192
POOL = 1 << 22
KNOWN_WORDS = 1 << 15  # 25 MB
CHUNK = 128
MEAN_WEIGHT = 0.5
TEXT_WEIGHT = 0.08
SHORT_WEIGHT = 0.3
# Han characters stand alone: no spaces part the words there.
WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff_]+")
COMMON_WORDS = """
and the that unto for with his her him was were shall they them their thou thee thy hath have had
from not but all this which who when then will said into upon are you your there
que para por com uma dos das nos nas aos seu sua seus suas ele ela eles como mas mais nao pelo
pela este esta isto esse essa foi era los las del con una sus cum qui quae quod non est sunt sed
eius les des une dans pour sur und der die das den dem ein
"""
COMMON = frozenset(COMMON_WORDS.split())


def fold(text: str) -> str:
    """Lower case, without accents."""
    text = text.lower()
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


@lru_cache(maxsize=1 << 16)
def features(word: str) -> tuple[tuple[int, float], ...]:
    """The directions of a folded word: pairs of an offset in the pool and a weight."""
    size = len(word)
    if size <= 3 or word in COMMON:
        damping = 0.6 if size == 3 and word not in COMMON else SHORT_WEIGHT
        return ((offset(f"w:{word}"), damping),)
    parts = {f"w:{word}": 0.65, f"3:{word[:3]}": 0.3, f"4:{word[:4]}": 0.5, f"6:{word[:6]}": 0.5}
    return tuple((offset(part), weight) for part, weight in parts.items())


def offset(feature: str) -> int:
    """Python's own ``hash`` differs from process to process, so blake2b it is."""
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest()) % POOL


def normalise(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1 (L2)."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: NDArray[np.float32] = rows / np.maximum(norms, 1e-12)[:, None]
    return unit


class Space:
    """One model's space.

    :param dimensions: the native size of its vectors.
    :param seed: two spaces with different seeds have nothing in common.
    """

    def __init__(self, dimensions: int, seed: int) -> None:
        self.dimensions = dimensions
        generator = np.random.Generator(np.random.PCG64(seed))
        pool = generator.standard_normal(POOL + RANK, dtype=np.float32)
        pool /= np.float32(np.sqrt(RANK))
        self._directions = np.lib.stride_tricks.sliding_window_view(pool, RANK)
        self._mean = MEAN_WEIGHT * self._directions[offset("mean")]
        self._spread = generator.standard_normal((RANK, dimensions), dtype=np.float32)
        self._known = np.empty((KNOWN_WORDS, RANK), np.float32)
        self._slots: dict[str, int] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of the texts: float32, shape ``(len(texts), dimensions)``, rows of length 1."""
        parts = [self._embed(texts[i : i + CHUNK]) for i in range(0, len(texts), CHUNK)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = [WORD.findall(fold(text)) or [text] for text in texts]
        table, slots = self._table({word for words in found for word in words})
        indices = [slots[word] for words in found for word in words]
        ends = np.cumsum([0, *map(len, found)])
        counts = sparse.csr_matrix(
            (np.ones(len(indices), np.float32), indices, ends), shape=(len(texts), len(table))
        )
        vectors = normalise(counts @ table) + self._mean
        exact = [offset(f"t:{text}") for text in texts]
        vectors += TEXT_WEIGHT * self._directions[exact]
        # A product a row: the last bits of one product depend on its shape and on the row's place.
        return normalise((vectors[:, None, :] @ self._spread)[:, 0])

    def _table(self, words: set[str]) -> tuple[NDArray[np.float32], dict[str, int]]:
        """A matrix with the vectors of all these words, and the row of each.

        Words seen are kept until the table is full: most of a batch costs nothing then.
        """
        if len(words) > len(self._known):
            listed = list(words)
            return self._words(listed), {word: row for row, word in enumerate(listed)}
        missing = list(words - self._slots.keys())
        if len(self._slots) + len(missing) > len(self._known):
            self._slots.clear()
            missing = list(words)
        if missing:
            start = len(self._slots)
            self._known[start : start + len(missing)] = self._words(missing)
            self._slots.update((word, start + i) for i, word in enumerate(missing))
        return self._known, self._slots

    def _words(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Word vectors, float32, shape ``(len(words), RANK)``; each direction read once."""
        columns: dict[int, int] = {}
        indices: list[int] = []
        weights: list[float] = []
        ends = [0]
        for word in words:
            for position, weight in features(word):
                indices.append(columns.setdefault(position, len(columns)))
                weights.append(weight)
            ends.append(len(indices))
        mix = sparse.csr_matrix(
            (np.array(weights, np.float32), indices, ends), shape=(len(words), len(columns))
        )
        product: NDArray[np.float32] = mix @ self._directions[list(columns)]
        return product


@cache
def space(dimensions: int, seed: int) -> Space:
    """The space, made at its first use (about 60 ms and 45 MB)."""
    return Space(dimensions, seed)


def shorten(vectors: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The first ``dimensions`` numbers of each row, brought back to length 1, as OpenAI does."""
    if dimensions == vectors.shape[1]:
        return vectors
    return normalise(vectors[:, :dimensions])
