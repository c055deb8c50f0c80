"""What the package reads of a document against a second reading of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.fidelity.references import pdf_pages, second_text, words
from rag_assets.documents.chunking import chunked
from rag_assets.documents.formats.extract import UNREADABLE_CHARACTER, read_blocks, recognise
from rag_assets.documents.formats.recognise import PDF
from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.model import ExtractionLimits

LIMITS = ExtractionLimits(
    seconds=600,
    memory_bytes=2 << 30,
    chunk_tokens=512,
    overlap_tokens=0,
    max_chunks=1_000_000,
    ocr=False,
)
_ADDRESS = re.compile(r"https?:|www\.|\S@\S|^\S+\.(?:com|org|net|gov|edu)(?:/\S*)?$", re.IGNORECASE)
_NUMBER = re.compile(r"[\W\d_]+|[ivxlcdm]+", re.IGNORECASE)
_NOTE = re.compile(r"[*†‡§¶¹²³⁴-⁹]|\[\d+\]")
_BEGINNING = 40  # letters of a passage by which its page is found
_PAGE_HEAD = 12  # of these may lie on the page before, for a reading in another order


@dataclass(frozen=True)
class Fidelity:
    """One document, counted.

    :param found: words of the second reading that the first has, too.
    :param in_order: pairs of following words of the second reading that follow in the first.
    :param left_out: missing words that the document's report accounts for.
    :param garbled: missing words that the second reading glues or cuts, each checked.
    :param missing: all others, with their numbers.
    :param glued: words of the first reading that are two in the second.
    :param false_headings: addresses, notes and numbers, where headings are guessed (PDF).
    :param pages: passages with a page, and ``right_pages`` those that begin there.
    """

    name: str
    format: str
    words: int
    found: int
    in_order: float
    left_out: int
    garbled: tuple[str, ...]
    missing: Counter[str]
    glued: tuple[str, ...]
    headings: int
    false_headings: tuple[str, ...]
    pages: int
    right_pages: int

    @property
    def coverage(self) -> float:
        """Of the words that are to be read, the share that is."""
        return 1 - sum(self.missing.values()) / max(1, self.words)


class Recorder(Remarks):
    """Keeps all of each text that is left out, where the report keeps its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def left_out(self, what: str, example: str = "", count: int = 1) -> None:
        self.texts.append(example)
        super().left_out(what, example, count)


def measured(content: bytes, name: str) -> Fidelity:
    """Read a document twice and compare."""
    recorder = Recorder()
    media_type = recognise(content, name)
    reading = read_blocks(content, media_type, name, LIMITS, recorder)
    first = words("\n".join(block.text for block in reading.blocks))
    pages = pdf_pages(content) if media_type == PDF else []
    second = words("\n".join(pages)) if pages else words(second_text(content, name))
    missing = Counter(second) - Counter(first)
    accounted = missing & Counter(words(" ".join(recorder.texts)))
    missing -= accounted
    garbled = _garbled(missing, first, second)
    missing -= Counter(garbled)
    headings = [block.title for block in reading.blocks if block.level]
    chunks = list(chunked(reading.blocks, most=512, overlap=0)) if pages else []
    return Fidelity(
        name=name,
        format=media_type.rsplit("/", 1)[-1].rsplit(".", 1)[-1],
        words=len(second),
        found=len(second) - sum((Counter(second) - Counter(first)).values()),
        in_order=_in_order(first, second),
        left_out=sum(accounted.values()),
        garbled=tuple(garbled),
        missing=missing,
        glued=_glued(first, second),
        headings=len(headings),
        false_headings=tuple(filter(_is_false, headings)) if pages else (),
        pages=sum(chunk.page is not None for chunk in chunks),
        right_pages=sum(
            _begins_on(chunk.text, pages[chunk.page - 1]) for chunk in chunks if chunk.page
        ),
    )


def _in_order(first: Sequence[str], second: Sequence[str]) -> float:
    following = Counter(pairwise(second))
    found = sum((following & Counter(pairwise(first))).values())
    return found / max(1, sum(following.values()))


def _glued(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """Words that only the first reading has, made of two that follow each other in the second.

    A second reading that cuts a word at a ligature (``defi nition``) is itself at fault.
    """
    known, following = set(second), set(pairwise(second))
    return tuple(
        word
        for word in dict.fromkeys(first)
        if word not in known
        and any(
            (word[:cut], word[cut:]) in following and not word[:cut].endswith(("fi", "fl", "ff"))
            for cut in range(1, len(word))
        )
    )


def _garbled(missing: Counter[str], first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Missing words that the second reading has glued, or cut at a ligature."""
    known, following = Counter(first), set(pairwise(first))
    found = [
        word
        for word in missing.elements()
        if any((word[:cut], word[cut:]) in following for cut in range(1, len(word)))
    ]
    pairs = Counter(pair for pair in pairwise(second) if pair[0].endswith(("fi", "fl", "ff")))
    for (left, right), count in pairs.items():
        if left + right in known:
            found += [left] * min(count, missing[left]) + [right] * min(count, missing[right])
    return list((Counter(found) & missing).elements())


def _is_false(title: str) -> bool:
    return bool(_ADDRESS.search(title) or _NUMBER.fullmatch(title) or _NOTE.match(title))


def _begins_on(text: str, page: str) -> bool:
    letters = "".join(words(text))[:_BEGINNING]
    return letters[:_PAGE_HEAD] in "".join(words(page))


__all__ = ["UNREADABLE_CHARACTER", "Fidelity", "measured"]
