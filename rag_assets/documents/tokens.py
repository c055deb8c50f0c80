"""Count tokens of cl100k_base, the vocabulary of text-embedding-3, without a download."""

from __future__ import annotations

from functools import cache

from splintr import AnyTokenizer, Tokenizer


def count_tokens(text: str) -> int:
    """Count the tokens of a text. Names of control tokens, such as ``<|endoftext|>``, are text."""
    return len(_tokenizer().encode_ordinary(text))


@cache
def _tokenizer() -> AnyTokenizer:
    return Tokenizer.from_pretrained("cl100k_base")  # is part of the package
