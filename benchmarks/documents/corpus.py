"""What is dropped: many Markdown documents, each of other text, and a very large one among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "documents"
SAMPLES = ROOT / "samples" / "documents"
LARGE = REAL / "large" / "ten-novels.md"
SMALLEST, LARGEST = 2_000, 20_000


def small_documents(count: int, *, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Names and texts of ``count`` documents of 2 to 20 kB: paragraphs of real ones, drawn anew.

    Each paragraph is told apart by a number, so that no text has been bought before.
    """
    draw = random.Random(seed)
    paragraphs = _paragraphs()
    for number in range(count):
        size = round(draw.triangular(SMALLEST, LARGEST, 6_000))
        lines = [f"# Document {number}\n"]
        length = 0
        while length < size:
            if draw.random() < 0.2:
                lines.append(f"## Part {len(lines)} of document {number}\n")
            paragraph = f"({number}.{len(lines)}) {draw.choice(paragraphs)[:2000]}\n"
            lines.append(paragraph)
            length += len(paragraph.encode())
        yield f"part-{number % 20:02}/document-{number:05}.md", "\n".join(lines)


def large_document(*, smoke: bool = False) -> bytes:
    """The ten novels; where they are not at hand, or for a smoke run, paragraphs without end."""
    size = 300_000 if smoke else 21_000_000
    if LARGE.is_file() and not smoke:
        return LARGE.read_bytes()
    texts = _paragraphs()
    parts, length, place = ["# A very long document\n"], 0, 0
    while length < size:
        parts.append(f"({place}) {texts[place % len(texts)]}\n")
        length += len(parts[-1].encode())
        place += 1
    return "\n".join(parts).encode()


def _paragraphs() -> list[str]:
    folder = REAL / "markdown" if REAL.is_dir() else SAMPLES
    texts = [path.read_text("utf-8") for path in sorted(folder.glob("*.md"))]
    return [part for text in texts for part in text.split("\n\n") if len(part) > 40]
