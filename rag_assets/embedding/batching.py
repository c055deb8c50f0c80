"""Texts, by their hashes, into requests: by number and by tokens. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_INPUTS = 2048
"""Inputs in one request (OpenAI API reference, embeddings)."""
MAX_TOKENS = 300_000
"""Tokens in one request (OpenAI API reference, embeddings)."""
BYTES_PER_TOKEN = 4
"""The provider estimates a request at about 0.25 token a UTF-8 byte before it tokenises."""
_HEADROOM = 0.9  # of MAX_TOKENS: the estimate is one


@dataclass(frozen=True, slots=True)
class Text:
    """One distinct text to embed, and its SHA-256."""

    hash: bytes
    text: str

    @property
    def estimated_tokens(self) -> int:
        return estimate_tokens(self.text)


Batch = tuple[Text, ...]


def estimate_tokens(text: str) -> int:
    """Tokens of a text, estimated from its UTF-8 bytes; at least 1."""
    return max(1, math.ceil(len(text.encode()) / BYTES_PER_TOKEN))


def request_tokens(tokens_per_minute: int) -> int:
    """Most estimated tokens of one request: 270,000, and a twentieth of what a minute allows.

    A request of more would have to be waited for so long that the limit could not be used up.
    """
    return max(1, min(int(MAX_TOKENS * _HEADROOM), tokens_per_minute // 20))


def batches(
    texts: Sequence[Text], size: int, *, max_tokens: int = int(MAX_TOKENS * _HEADROOM)
) -> Iterator[Batch]:
    """Split in order: at most ``size`` texts (and 2,048) and ``max_tokens`` estimated tokens each.

    A text that alone is over that goes alone: the provider judges it.
    """
    size = min(size, MAX_INPUTS)
    batch: list[Text] = []
    tokens = 0
    for text in texts:
        cost = text.estimated_tokens
        if batch and (len(batch) == size or tokens + cost > max_tokens):
            yield tuple(batch)
            batch, tokens = [], 0
        batch.append(text)
        tokens += cost
    if batch:
        yield tuple(batch)


def tokens_of(batch: Batch) -> int:
    """Estimated tokens of a batch."""
    return sum(text.estimated_tokens for text in batch)


def part_of(batch: Batch, size: int, *, max_tokens: int) -> tuple[Batch, Batch]:
    """As :func:`batches` would split it: the first part, and the others."""
    first = next(batches(batch, size, max_tokens=max_tokens))
    return first, batch[len(first) :]


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The two halves of a refused batch of two or more, to find the text at fault."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def text_hash(text: str) -> bytes:
    """SHA-256 of the UTF-8 text, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()
