"""Sets of queries whose answers are known: verses in another version, and words out of a verse."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.index.corpus import REAL
from benchmarks.workload import ROOT, SAMPLE
from rag_assets.bible.books import book_code
from rag_assets.bible.reader import read_bible

BIBLES = ROOT.parent / "shared" / "data" / "bibles"
WORDS = 6
"""Words of a query out of a verse."""
ENGLISH, PORTUGUESE = "EN_KJV", "PT_BLIVRE"
_FOLDERS = {ENGLISH: "EN_KJV/osis", PORTUGUESE: "PT_BLIVRE/usfm", "EN_ASV": "EN_ASV/usx",
            "EN_WEB": "EN_WEB/usfm"}  # fmt: skip
_SEED = 30

Version = Mapping[str, str]
"""The text of each verse, by reference."""


@dataclass(frozen=True)
class QuerySet:
    """Queries, each with the reference of the one verse that answers it.

    :param version: the version that is searched.
    :param origin: the version whose verses are the queries; ``None`` for words out of verses.
    """

    name: str
    version: str
    origin: str | None
    queries: Sequence[str]
    wanted: Sequence[str]


def versions(more: Path | None, *, smoke: bool) -> dict[str, Version]:
    """The Bibles that are at hand: shared ones, or the samples, and those of a folder."""
    if smoke or not BIBLES.is_dir():
        paths = {ENGLISH: SAMPLE, PORTUGUESE: SAMPLE.with_name("PT_SAMPLE")}
    else:
        paths = {code: BIBLES / folder for code, folder in _FOLDERS.items()}
    if more is not None:
        paths |= {path.name: path for path in sorted(more.iterdir()) if path.is_dir()}
    return {
        code: {verse.reference: verse.text for verse in read_bible(path).verses}
        for code, path in paths.items()
    }


def query_sets(
    texts: Mapping[str, Version],
    verses: Sequence[str],
    count: int,
    embedded: Callable[[str], Container[str] | None],
) -> Iterator[QuerySet]:
    """The sets that these versions allow.

    :param verses: references that are searched; queries are drawn from these.
    :param count: of each set, at most.
    :param embedded: the verses of a version that can be queries; ``None`` for all.
    """
    pairs = [(PORTUGUESE, ENGLISH), (ENGLISH, PORTUGUESE), ("EN_ASV", ENGLISH), ("EN_WEB", ENGLISH)]
    for origin, version in pairs:
        if origin in texts:
            known = embedded(origin)
            both = [
                key
                for key in verses
                if key in texts[origin]
                and key in texts[version]
                and (known is None or key in known)
            ]
            drawn = random.Random(_SEED).sample(both, min(count, len(both)))
            queries = [texts[origin][key] for key in drawn]
            yield QuerySet(f"{origin} → {version}", version, origin, queries, drawn)
    languages: dict[str, str] = {}
    for code in texts:
        languages.setdefault(code[:2], code)
    for code in languages.values():
        draw = random.Random(_SEED)
        long = [key for key in verses if len(_words(texts[code].get(key, ""))) > WORDS]
        drawn = draw.sample(long, min(count, len(long)))
        queries = [_piece(texts[code][key], draw) for key in drawn]
        yield QuerySet(f"{WORDS} words, {code}", code, None, queries, drawn)


def _words(text: str) -> list[str]:
    """Words or, in a script without spaces, characters."""
    words = text.split()
    return words if len(words) > WORDS or text.isascii() else list(text.replace(" ", ""))


def _piece(text: str, draw: random.Random) -> str:
    words = _words(text)
    start = draw.randrange(len(words) - WORDS + 1)
    return (" " if words == text.split() else "").join(words[start : start + WORDS])


def minilm_references(code: str, texts: Version) -> list[str]:
    """The verses of MiniLM's vectors, in their order: listed, or the files' by their names."""
    if code != PORTUGUESE:
        name = "EN_KJV.refs.txt" if code == ENGLISH else "queries_EN_ASV.gold.txt"
        return [_reference(line) for line in (REAL / name).read_text().split()]
    ordered = []
    for path in sorted((BIBLES / _FOLDERS[code]).glob("*.usfm")):
        found = re.search(r"\\id\s+(\w+)", path.read_text("utf-8-sig"))
        assert found is not None
        for key in (key for key in texts if key.startswith(found[1].upper() + " ")):
            ordered.append(key)
            if key == "ACT 28:28":
                ordered.append("ACT 28:29")  # an empty verse, which has a vector
    return ordered


def _reference(osis: str) -> str:
    book, chapter, verse = osis.split(".")
    return f"{book_code(book)} {chapter}:{verse}"
