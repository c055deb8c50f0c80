"""Small corpora made for tests: texts into loaded versions, with or without files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rag_assets.bible.model import BibleText, Verse
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.postgres.database import Database

ALLOWED = VersionDeclaration(
    name="A test version",
    language="en",
    licence="CC0-1.0",
    ai_allowed=True,
    enabled_for_rag=True,
)


def bible_of(texts: Sequence[str]) -> BibleText:
    """Genesis 1:1 and on, one verse a text."""
    verses = tuple(
        Verse("GEN", 1 + place // 50, 1 + place % 50, 1 + place % 50, text)
        for place, text in enumerate(texts)
    )
    return BibleText("usfm", verses, len(verses), ())


def load_version(
    database: Database,
    code: str,
    texts: Sequence[str],
    declaration: VersionDeclaration = ALLOWED,
) -> None:
    """Load a version with these texts."""
    with database.connect() as connection:
        load_verses(
            connection, code, declaration, bible_of(texts), source_hash="test", run_id="load"
        )


def sentences(count: int, *, word: str = "river") -> list[str]:
    """Distinct texts of about 60 bytes."""
    return [
        f"The {word} number {place} runs down to the sea before {place + 7} days"
        for place in range(count)
    ]


def write_usfm_version(
    bibles_dir: Path, code: str, texts: Sequence[str], *, ai_allowed: bool = True
) -> Path:
    """A version's folder as a person would drop it: one USFM book and its declaration."""
    folder = bibles_dir / code
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\\id GEN test", "\\usfm 3.0", "\\h Genesis", "\\c 1", "\\p"]
    lines += [f"\\v {place} {text}" for place, text in enumerate(texts, start=1)]
    (folder / "01-GEN.usfm").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "version.toml").write_text(
        f'name = "{code}"\nlanguage = "en"\nlicence = "CC0-1.0"\n'
        f"ai_allowed = {str(ai_allowed).lower()}\nenabled_for_rag = true\n",
        encoding="utf-8",
    )
    return folder
