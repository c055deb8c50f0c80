"""The texts that every contender embeds: real verses where they are at hand, else made ones."""

from __future__ import annotations

import json
from pathlib import Path

from rag_assets.bible.model import BibleText, Verse
from rag_assets.bible.reader import read_bible
from rag_assets.bible.versions import VersionDeclaration

ROOT = Path(__file__).resolve().parents[1]
KJV = ROOT.parent / "shared" / "data" / "bibles" / "EN_KJV" / "osis"
SAMPLE = ROOT / "samples" / "bibles" / "EN_SAMPLE"
VERSES = 31_102
"""Verses of a whole Bible (the King James Version)."""


def workload(count: int = VERSES) -> BibleText:
    """``count`` distinct verses: the KJV's, or the sample's, numbered until there are enough."""
    if KJV.is_dir():
        bible = read_bible(KJV)
        return BibleText(bible.format, bible.verses[:count], count, ())
    texts = [verse.text for verse in read_bible(SAMPLE).verses]
    verses = tuple(
        Verse(
            "GEN",
            1 + place // 150,
            1 + place % 150,
            1 + place % 150,
            f"{texts[place % len(texts)]} ({place})",
        )
        for place in range(count)
    )
    return BibleText("made", verses, count, ())


def declared(code: str) -> VersionDeclaration:
    """What a version's ``version.toml`` says; its language is in its code."""
    language = code[:2].lower()
    return VersionDeclaration(code, language, "benchmark", ai_allowed=True, enabled_for_rag=True)


def write_texts(bible: BibleText, path: Path) -> None:
    """One JSON object a line, for contenders that run in an environment of their own."""
    with path.open("w", encoding="utf-8") as file:
        for verse in bible.verses:
            file.write(json.dumps({"id": verse.reference, "text": verse.text}) + "\n")
