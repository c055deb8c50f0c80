"""The documents: real ones where they are at hand, else samples; and Office files made of them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.documents.corpus import REAL, SAMPLES
from rag_assets.documents.formats.lines import read_markdown
from rag_assets_tests.documents.formats import office

_SUFFIXES = {".md", ".txt", ".htm", ".html", ".xhtml", ".pdf", ".adoc"}
_FOLDERS = ("html", "markdown", "pdf", "text")


def real_documents(*, smoke: bool) -> Iterator[tuple[str, bytes]]:
    """Names and contents; a few small ones for a smoke run."""
    if REAL.is_dir() and not smoke:
        paths = [path for folder in _FOLDERS for path in sorted((REAL / folder).iterdir())]
    else:
        paths = sorted(SAMPLES.iterdir())
    for path in paths:
        if path.suffix in _SUFFIXES:
            yield path.name, path.read_bytes()


def made_documents(*, smoke: bool) -> Iterator[tuple[str, bytes]]:
    """Word, OpenDocument, PowerPoint, Excel, EPUB and e-mail with the text of Markdown files."""
    blocks: list[office.Block] = []
    for name, content in real_documents(smoke=smoke):
        if name.endswith(".md"):
            blocks += [
                (min(block.level, 3), " ".join((block.title or block.text).split()))
                for block in read_markdown(content.decode()).blocks
                if (block.title or block.text).isprintable() or "\n" in block.text
            ]
    blocks = blocks[: 200 if smoke else 4000]
    texts = [text for level, text in blocks if not level]
    pairs = list(zip(texts[::2], texts[1::2], strict=False))
    yield "made.docx", office.docx(blocks, "Made")
    yield "made.odt", office.odt(blocks, "Made")
    yield "made.pptx", office.pptx(pairs[:300], [text for _, text in pairs[300:500]])
    yield "made.xlsx", office.xlsx({"Texts": pairs})
    yield "made.epub", office.epub([(first[:150], second) for first, second in pairs], "Made")
    yield "made.eml", office.eml("Made", "\n\n".join(texts))
