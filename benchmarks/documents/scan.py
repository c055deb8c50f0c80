"""A scan of a full inbox, as the sensor does it at each tick.

    python -m benchmarks.documents.scan            10,000 and 100,000 known documents
    python -m benchmarks.documents.scan --smoke    200

The inbox is a folder of this machine with files of 2 kB, a hundred to a folder; the table of
documents is in an embedded PostgreSQL of the benchmark's own. Each row is one scan; `MB` is the
most memory that the process had until then.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.index.bench import Report, own_server, say, show
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import Intake, take_in
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings

SIZES, SMOKE_SIZES = (10_000, 100_000), (200,)
HAPPENED = 100
"""Files that are new, changed, renamed or gone."""
FOLDER = 100
TEXT = "What is written here is of no importance, but it has two thousand bytes. " * 28
EVERYTHING = 10**9


class Inbox:
    """A folder with documents, and the looks at it."""

    def __init__(self, folder: Path, database: Database, settings: Settings) -> None:
        self._folder = folder
        self._database = database
        self._settings = settings.model_copy(
            update={"rag_documents_url": str(folder), "rag_documents_settle_s": 0}
        )
        self._cursor = ""

    def path(self, number: int) -> Path:
        return self._folder / f"{number // FOLDER:05}" / f"document {number}.md"

    def write(self, numbers: range, text: str = TEXT) -> None:
        for number in numbers:
            path = self.path(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# Document {number}\n{text}", encoding="utf-8")

    def scan(self, *, per_tick: int | None = None, ask: bool = True) -> tuple[Intake, float]:
        """One scan and its seconds.

        :param ask: the database, also where nothing has happened.
        """
        settings = self._settings
        if per_tick is not None:
            settings = settings.model_copy(update={"rag_documents_per_tick": per_tick})
        began = time.perf_counter()
        intake = take_in(
            self._database,
            open_inbox(settings),
            settings,
            cursor=None if ask else self._cursor,
            patience_s=EVERYTHING,
        )
        seconds = time.perf_counter() - began
        self._cursor = intake.cursor
        return intake, seconds


def looks(size: int, inbox: Inbox) -> Iterator[tuple[str, Intake, float]]:
    """What has happened, what the scan found, and its seconds."""
    inbox.write(range(size))
    yield "all are new, without a limit a look", *inbox.scan(per_tick=EVERYTHING)
    yield "nothing", *inbox.scan(ask=False)
    yield "nothing, the database is asked", *inbox.scan()
    inbox.write(range(size, size + HAPPENED))
    yield f"{HAPPENED} are new", *inbox.scan()
    inbox.write(range(size, size + HAPPENED), TEXT + "!")
    yield f"{HAPPENED} have changed", *inbox.scan()
    for number in range(size, size + HAPPENED):
        inbox.path(number).rename(inbox.path(number).with_suffix(".txt"))
    yield f"{HAPPENED} have other names", *inbox.scan()
    for number in range(size, size + HAPPENED):
        inbox.path(number).with_suffix(".txt").unlink()
    yield f"{HAPPENED} are gone", *inbox.scan()


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="a few documents")
    rows = []
    for size in SMOKE_SIZES if options.parse_args().smoke else SIZES:
        say(f"{size:,} documents")
        with own_server() as (database, settings), tempfile.TemporaryDirectory() as folder:
            for happened, intake, seconds in looks(size, Inbox(Path(folder), database, settings)):
                megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                found = str(intake)
                rows.append((f"{size:,}", happened, found, f"{seconds:.2f}", f"{megabytes:.0f}"))
    show(Report("a look into the inbox", ("known", "happened", "found", "s", "MB"), rows))


if __name__ == "__main__":
    main()
