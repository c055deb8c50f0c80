"""All the shared documents, through the child process, as they would go in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rag_assets.documents.model import ChunkedDocument
from rag_assets.documents.sandbox import Extractor
from rag_assets.documents.tokens import count_tokens
from rag_assets.errors import (
    CorruptDocumentError,
    DocumentError,
    EmptyDocumentError,
    EncryptedDocumentError,
    NoTextError,
)
from rag_assets_tests.documents.conftest import DOCUMENTS
from rag_assets_tests.documents.formats.conftest import LIMITS, extract

pytestmark = pytest.mark.long

FindDocument = Callable[[str], Path]
UNREADABLE: dict[str, type[DocumentError]] = {
    "bad/empty.md": EmptyDocumentError,
    "bad/whitespace-only.txt": EmptyDocumentError,
    "bad/image-only.pdf": NoTextError,
    "bad/truncated.pdf": CorruptDocumentError,
    "bad/encrypted.pdf": EncryptedDocumentError,
}
LARGE = "large/ten-novels.md"
NAMES = sorted(
    path.relative_to(DOCUMENTS).as_posix() for path in DOCUMENTS.glob("*/*") if path.is_file()
)
READABLE = [name for name in NAMES if name not in UNREADABLE and name != LARGE]


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor(LIMITS) as one:
        yield one


@pytest.mark.parametrize("name", READABLE)
def test_a_good_document_becomes_chunks(
    name: str, extractor: Extractor, real_document: FindDocument
) -> None:
    document = extract(extractor, real_document(name), name)
    assert document.title
    assert document.chunks
    for chunk in document.chunks:
        assert 0 < chunk.tokens == count_tokens(chunk.text) <= LIMITS.chunk_tokens
        assert chunk.text == chunk.text.strip("\n")
        assert "\0" not in chunk.text
        assert (chunk.page is None) == (document.pages is None)


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_bad_document_is_refused_for_what_it_is(
    name: str, extractor: Extractor, real_document: FindDocument
) -> None:
    with pytest.raises(DocumentError) as caught:
        extract(extractor, real_document(name), name)
    assert type(caught.value) is UNREADABLE[name]
    assert caught.value.path == name


@pytest.fixture
def read(extractor: Extractor, real_document: FindDocument) -> Callable[[str], ChunkedDocument]:
    return lambda name: extract(extractor, real_document(name), name)


ReadDocument = Callable[[str], ChunkedDocument]


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("markdown/system-design-primer.md", "en"),
        ("markdown/system-design-primer-ja.md", "ja"),
        ("markdown/CONTRIBUTING-ko.md", "ko"),
        ("markdown/CONTRIBUTING-pt_BR.md", "pt"),
        ("markdown/livros-de-programação (pt-BR).md", "pt"),
        ("markdown/18f-participant-agreement-spanish.md", "es"),
        ("markdown/tldr-tar.md", "pt"),
        ("text/os-lusiadas-latin1.txt", "pt"),
        ("pdf/alice-in-wonderland.pdf", "en"),
        ("html/pepys-chapter-1.xhtml", "en"),
        ("other/cfs-mnemonic-naming-convention.doc", "en"),
    ],
)
def test_the_language_is_told(name: str, language: str, read: ReadDocument) -> None:
    assert read(name).language == language


def test_front_matter_gives_the_title(read: ReadDocument) -> None:
    document = read("markdown/18f-five-whys.md")
    assert document.title == "Five whys"
    assert "layout: card" not in document.chunks[0].text


def test_a_comment_in_code_is_no_heading(read: ReadDocument) -> None:
    headings = {
        title
        for chunk in read("markdown/rust-nostarch-chapter20.md").chunks
        for title in chunk.heading
    }
    assert "Advanced Features" in headings
    assert not any("[" in title and "derive" in title for title in headings)


def test_html_named_pdf_reads_as_html(read: ReadDocument) -> None:
    bad, good = read("bad/html-named.pdf"), read("html/usds-playbook-index.html")
    assert bad.media_type == "text/html"
    assert bad.chunks == good.chunks


def test_a_poem_in_latin_1_keeps_its_accents(read: ReadDocument) -> None:
    document = read("text/os-lusiadas-latin1.txt")
    text = "\n".join(chunk.text for chunk in document.chunks)
    assert "As armas e os barões assinalados" in text.replace("bar\u00f5es", "barões")
    assert "\ufffd" not in text
    assert "\r" not in text


def test_pages_of_a_book_are_kept(read: ReadDocument) -> None:
    document = read("pdf/alice-in-wonderland.pdf")
    pages = [chunk.page for chunk in document.chunks]
    assert document.pages == 92
    assert pages == sorted(pages, key=lambda page: page or 0)
    assert (pages[0], pages[-1]) == (1, 92)
    assert any("CHAPTER" in title.upper() for chunk in document.chunks for title in chunk.heading)


def test_copies_give_the_same_chunks_and_an_edited_one_differs_in_one(read: ReadDocument) -> None:
    whole = {
        name: [chunk.text for chunk in read(name).chunks]
        for name in (
            "markdown/18f-five-whys.md",
            "duplicates/five-whys-copy.md",
            "duplicates/five-whys-edited.md",
            "markdown/tldr-ssh.md",
            "duplicates/ssh-anotações.txt",
        )
    }
    original, copy, edited, markdown, text = whole.values()
    assert original == copy
    assert markdown == text
    assert len(set(edited) - set(original)) == 1


@pytest.mark.parametrize(
    "name", ["markdown/rust-nostarch-chapter20.md", "text/os-lusiadas-latin1.txt"]
)
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_line_put_into_a_book_changes_a_few_of_its_chunks(
    name: str, share: float, extractor: Extractor, real_document: FindDocument, tmp_path: Path
) -> None:
    path = real_document(name)
    lines = path.read_bytes().split(b"\n\r\n" if b"\r\n" in path.read_bytes() else b"\n\n")
    lines.insert(int(share * len(lines)), b"A passage that nobody had expected here.")
    changed = tmp_path / path.name
    changed.write_bytes(b"\n\n".join(lines))
    before = {chunk.text for chunk in extract(extractor, path, name).chunks}
    after = extract(extractor, changed, name).chunks
    assert len(after) > 40
    assert sum(chunk.text not in before for chunk in after) <= 5


def test_broken_bytes_and_nul_do_not_spoil_the_rest(read: ReadDocument) -> None:
    broken = read("bad/invalid-utf8.md")
    assert broken.title == "Packages and Crates"
    assert "we’ll cover" in broken.chunks[0].text
    assert "\x1b" not in read("bad/nul-bytes.txt").chunks[0].text
    assert read("bad/utf16-le-with-bom.txt").chunks[0].text.startswith("---\n")


def test_the_novels_fit_into_the_memory(read: ReadDocument) -> None:
    document = read(LARGE)
    assert 5_000 < len(document.chunks) < 10_000
    assert {chunk.heading[0] for chunk in document.chunks if chunk.heading} >= {
        "Ulysses",
        "Anna Karenina",
    }
