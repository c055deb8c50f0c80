"""Keys: readable, safe everywhere, never another document's."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.documents.inbox.files import document_key


def free(_key: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("report.pdf", "report.pdf"),
        ("markdown/tldr-ssh.md", "markdown__tldr-ssh.md"),
        ("a/b/c.txt", "a__b__c.txt"),
        ("livros-de-programação (pt-BR).md", "livros-de-programacao-pt-BR.md"),
        ("18f-method-cards-instructions (1).pdf", "18f-method-cards-instructions-1.pdf"),
        ("ssh-anotações.txt", "ssh-anotacoes.txt"),
        (unicodedata.normalize("NFD", "ssh-anotações.txt"), "ssh-anotacoes.txt"),
        ("Straße & Söhne.docx", "Straße-Sohne.docx"),
        ("システム設計.md", "システム設計.md"),
        ("हिन्दी.md", "हिन्दी.md"),
        ("a...b.md", "a.b.md"),
        ("a, b; c|d.md", "a-b-c-d.md"),
        ("-rf.md", "rf.md"),
        ("../x.md", "x.md"),
        ("ﬁle.md", "file.md"),
        ("(*).md", "md"),
        ("***", "-"),
        ("line\nend.md", "line-end.md"),
    ],
)
def test_a_path_becomes_a_key(path: str, key: str) -> None:
    assert document_key(path, free) == key


def test_a_key_that_is_taken_gets_a_number() -> None:
    taken = {"a-b.md", "a-b.md-2"}
    assert document_key("a b.md", taken.__contains__) == "a-b.md-3"


def test_a_long_path_is_shortened_but_stays_unique_and_keeps_its_extension() -> None:
    keys = {document_key(f"{'folder/' * 40}{name}.pdf", free) for name in ("one", "two")}
    assert len(keys) == 2
    assert all(len(key) <= 120 and key.endswith(".pdf") for key in keys)


@given(st.text(min_size=1, max_size=300))
def test_a_key_is_safe_for_partitions_urls_and_command_lines(path: str) -> None:
    key = document_key(path, free)
    assert 0 < len(key) <= 120
    assert "..." not in key
    assert not re.search(r"[\s/\\,;|'\"`$&<>*?#%\x00-\x1f\x7f]", key)
    assert key == document_key(path, free)
