"""The same documents with CocoIndex, in an environment of its own: first, again, and changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.documents.flow import LATENCY_MS, drop
from benchmarks.index.bench import own_server, say
from benchmarks.others import PEERS, peers_database, run_peer
from openai_emulator.process import running_emulator

CHANGED = 100


@dataclass(frozen=True)
class Look:
    """What one run of CocoIndex took; a first one finds an empty table."""

    what: str
    first_s: float | None
    seconds: float
    rows: int
    requests: int
    texts: int
    peak_mb: float


def looks(count: int) -> Iterator[Look]:
    """Of a folder with ``count`` documents, and then with some of them changed."""
    if not any(PEERS.parents[1].glob("lib/*/site-packages/cocoindex")):
        say("CocoIndex: not in .venv-peers, see benchmarks/peers/README.md")
        return
    with (
        own_server() as (database, _),
        running_emulator(latency_ms=LATENCY_MS) as emulator,
        tempfile.TemporaryDirectory(prefix="rag-bench-cocoindex-") as name,
    ):
        folder = Path(name)
        inbox = folder / "inbox"
        inbox.mkdir()
        drop(folder, inbox, count)
        arguments = [
            "--database-url", peers_database(database), "--base-url", emulator.base_url,
            "--documents", str(inbox), "--state", str(folder / "state"), "--table", "documents",
        ]  # fmt: skip

        def look(what: str, *, first: bool = False) -> Look:
            say(f"CocoIndex: {what}")
            emulator.reset()
            found = run_peer("cocoindex_documents.py", arguments)
            used = emulator.stats()
            return Look(
                what,
                found["first_s"] if first else None,
                found["seconds"],
                int(found["rows"]),
                used.ok,
                used.inputs_answered,
                found["peak_rss_mb"],
            )

        yield look("first run", first=True)
        yield look("nothing changed")
        changed = sorted(inbox.rglob("*.md"))[:CHANGED]
        for path in changed:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\nA last paragraph of {path.name}.\n")
        yield look(f"{len(changed)} changed")
