"""Every verse of every Bible, letter by letter, against a second and independent reading.

    python -m benchmarks.fidelity.bibles            the table of benchmarks/README.md
    python -m benchmarks.fidelity.bibles --smoke    the samples only: does it run?

The Bibles are those of ../shared/data where they are, and always the project's samples. Each folder
is read twice: as a version is read, in its child process, and by :mod:`.second_parse`. A verse that
one of them lacks, or that differs in one letter, is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fidelity import second_parse
from benchmarks.index.bench import Report, show
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.sandbox import read_version
from rag_assets.settings.model import Settings

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "bibles"
SAMPLES = ROOT / "samples" / "bibles"

Parser = Callable[[bytes], Iterator[second_parse.Printed]]
FOLDERS: dict[str, tuple[Parser | None, str]] = {
    "EN_KJV/osis": (second_parse.osis, "*.xml"),
    "EN_WEB/usfm": (second_parse.usfm, "*.usfm"),
    "EN_WEB/usfm_strongs": (second_parse.usfm, "*.usfm"),
    "EN_WEB/usx": (second_parse.usx, "release/**/*.usx"),
    "EN_WEB/vref": (None, ""),
    "EN_ASV/usx": (second_parse.usx, "*.usx"),
    "EN_OEB/osis.xml": (second_parse.osis, ""),
    "EN_OEB/csv": (second_parse.scrollmapper_csv, "*.csv"),
    "EN_OEB/usfm_dev": (second_parse.usfm, "*.usfm"),
    "EN_WMTH/zefania.xml": (second_parse.zefania, ""),
    "PT_ALM1911/ALM1911.json": (second_parse.bodruk_json, ""),
    "PT_BLIVRE/usfm": (second_parse.usfm, "*.usfm"),
}


@dataclass(frozen=True)
class Compared:
    """One folder read twice.

    :param differing: verses that are in both, with other letters.
    """

    name: str
    format: str
    verses: int
    letters: int
    equal: int
    only_ours: list[str]
    only_second: list[str]
    differing: list[str]

    def row(self) -> tuple[str, ...]:
        counts = (len(self.only_ours), len(self.only_second), len(self.differing))
        numbers = (self.verses, self.letters, self.equal, *counts)
        return self.name, self.format, *(f"{one:,}" for one in numbers)

    @property
    def exact(self) -> bool:
        return not (self.only_ours or self.only_second or self.differing)


def second(folder: Path, parser: Parser | None, pattern: str) -> second_parse.Verses:
    """The folder as the second reading has it."""
    if parser is None:
        return second_parse.stored(second_parse.vref(folder))
    files = [folder] if folder.is_file() else sorted(folder.glob(pattern))
    return second_parse.stored([one for file in files for one in parser(file.read_bytes())])


def compare(name: str, folder: Path, parser: Parser | None, pattern: str) -> Compared:
    """Read a folder twice and set the verses against each other."""
    bible = read_version(folder, reading_limits(Settings())).bible
    ours = {(v.book, v.chapter, v.verse, v.verse_end): v.text for v in bible.verses}
    theirs = second(folder, parser, pattern)
    differing = [
        f"{_named(place)}\n    ours   {ours[place]!r}\n    second {theirs[place]!r}"
        for place in ours.keys() & theirs.keys()
        if ours[place] != theirs[place]
    ]
    return Compared(
        name,
        bible.format,
        len(ours),
        sum(map(len, ours.values())),
        len(ours.keys() & theirs.keys()) - len(differing),
        [_named(place) for place in sorted(ours.keys() - theirs.keys())],
        [_named(place) for place in sorted(theirs.keys() - ours.keys())],
        sorted(differing),
    )


def _named(place: tuple[str, int, int, int]) -> str:
    book, chapter, first, last = place
    return f"{book} {chapter}:{first}" + (f"-{last}" if last > first else "")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="the samples only")
    options.add_argument("--only", nargs="+", choices=FOLDERS, help="these folders")
    given = options.parse_args()
    found = [
        compare(f"samples/{folder.name}", folder, second_parse.usfm, "*.usfm")
        for folder in sorted(SAMPLES.iterdir())
    ]
    if REAL.is_dir() and not given.smoke:
        found += [
            compare(name, REAL / name, parser, pattern)
            for name, (parser, pattern) in FOLDERS.items()
            if name in (given.only or FOLDERS)
        ]
    show(
        Report(
            "Verses of Bibles against a second reading",
            (
                "folder",
                "format",
                "verses",
                "letters",
                "equal",
                "only ours",
                "only second",
                "differing",
            ),
            [one.row() for one in found],
        )
    )
    for one in found:
        for what in ("only_ours", "only_second", "differing"):
            for line in getattr(one, what):
                print(f"{one.name}: {what}: {line}")
    if not all(one.exact for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
