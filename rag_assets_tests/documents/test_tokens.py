"""Token counts match OpenAI's tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_assets.documents.tokens import count_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),  # by tiktoken 0.14, cl100k_base
    [
        ("", 0),
        (" ", 1),
        ("\n\n", 1),
        ("hello world", 2),
        ("don't I'LL", 5),
        ("a² ½ Ⅷ", 7),
        ("  \n\n  x", 3),
        ("\t\tcode()\n\n    indent\n", 6),
        ("!!!???...\n\n\n", 3),
        ("_foo_bar_", 4),
        ("naïve café", 4),
        ("<|endoftext|>", 7),
        ("🎉🎉 family 👨‍👩‍👧", 19),
        ("日本語のテキストを数える。長い文章です", 18),
        ("a" * 600, 75),
    ],
)
def test_a_text_has_the_tokenizers_number_of_tokens(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@pytest.mark.parametrize(
    ("name", "tokens"),  # by tiktoken 0.14, cl100k_base
    [
        ("rust-ch09-02-recoverable-errors-with-result.md", 6600),
        ("CONTRIBUTING-ko.md", 5775),
        ("courses-ar.md", 23407),
        ("cursos-pt_BR.md", 15859),
        ("tldr-ssh.md", 456),
    ],
)
def test_a_real_document_has_the_tokenizers_number_of_tokens(
    name: str, tokens: int, real_document: Callable[[str], Path]
) -> None:
    assert count_tokens(real_document(f"markdown/{name}").read_text(encoding="utf-8")) == tokens


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_a_text_has_at_most_as_many_tokens_as_bytes(text: str) -> None:
    assert bool(text) <= count_tokens(text) <= len(text.encode())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("a" * 1_000_000, 125_000), (" " * 1_000_000, 7_813), ("ção" * 300_000, 300_000)],
)
def test_a_very_long_word_is_counted(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens
