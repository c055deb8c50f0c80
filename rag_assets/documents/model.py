"""What extraction returns: a document's passages and what is known of it, and what bounds it.

Plain frozen data; reading belongs to :mod:`.formats.extract`, its child process to
:mod:`.sandbox`, storing to :mod:`rag_assets.documents.sql`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

READER_VERSION = 3
"""Raised whenever the same file and settings give other text or other chunks than before: documents
that an older version has read are then re-read. 2: Office formats and EPUB by xberg, PDF by PDFium.
3: every part of an e-mail, mbox, EPUB by its spine, hidden HTML left out, PDF words and headings.
"""
READER = f"v{READER_VERSION}"
UNREADABLE_CHARACTER = "character that cannot be read (U+FFFD)"
RemarkKind = Literal["left_out", "repaired", "lost"]


_LONGEST_CONTEXT = 500  # characters


@dataclass(frozen=True, slots=True)
class Chunk:
    """One passage of a document; its position is its place in the list, from 1.

    :param text: what is embedded and shown: never blank, without NUL, other control characters
        (but for ``\\n`` and ``\\t``) or lone surrogates.
    :param heading: the headings that it stands under, from the outermost; empty before the first.
    :param page: on which it begins, from 1; the slide's number; ``None`` without pages.
    :param tokens: of ``text``, counted with the vocabulary cl100k_base.
    """

    text: str
    heading: tuple[str, ...]
    page: int | None
    tokens: int


@dataclass(frozen=True, slots=True)
class Remark:
    """Something in a file that is not in the text as it stands there.

    :param kind: ``left_out`` on purpose; ``repaired`` or guessed; ``lost``, which needs attention.
    :param what: in words, such as ``hidden sheet``.
    :param examples: the names or beginnings of the first few.
    """

    kind: RemarkKind
    what: str
    count: int = 1
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f": {'; '.join(self.examples)}" if self.examples else ""
        return f"{self.kind.replace('_', ' ')}: {self.what} ({self.count:,}){named}"


@dataclass(frozen=True, slots=True)
class ChunkedDocument:
    """A whole document, read and cut up.

    :param title: of its metadata, or its first heading, or its file name.
    :param media_type: recognised by content, such as ``text/markdown``.
    :param language: BCP 47 primary tag such as ``pt``; ``und`` if it cannot be determined.
    :param pages: or slides; ``None`` where the format has none.
    :param characters: of the text that was cut up.
    :param chunks: in order, at least one.
    :param seconds: wall time by stage: ``extract``, ``chunk``.
    :param remarks: what was left out, repaired or lost.
    """

    title: str
    media_type: str
    language: str
    pages: int | None
    characters: int
    chunks: tuple[Chunk, ...]
    seconds: Mapping[str, float]
    remarks: tuple[Remark, ...] = ()


def in_context(title: str, chunk: Chunk) -> str:
    """A chunk's text as it is embedded: below its document's title and its headings."""
    above: list[str] = []
    for name in (title, *chunk.heading):
        if name and (not above or above[-1].casefold() != name.casefold()):
            above.append(name)
    return f"{' > '.join(above)[:_LONGEST_CONTEXT]}\n\n{chunk.text}" if above else chunk.text


@dataclass(frozen=True, slots=True)
class ExtractionLimits:
    """What one document may take, and how it is cut up.

    :param seconds: wall time of extraction and chunking together.
    :param memory_bytes: of the child process (resident), its interpreter included, without the
        pages of program files, which all children share.
    :param chunk_tokens: most tokens of a chunk.
    :param overlap_tokens: most tokens at a chunk's beginning that also end the one before it.
    :param max_chunks: more make the document too large.
    :param ocr: read pages without text by OCR, which needs Tesseract.
    """

    seconds: float
    memory_bytes: int
    chunk_tokens: int
    overlap_tokens: int
    max_chunks: int
    ocr: bool
