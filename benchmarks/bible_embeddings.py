"""Embed one whole Bible: the bare limit, ours, and others', in one run.

    python -m benchmarks.bible_embeddings            the table of benchmarks/README.md
    python -m benchmarks.bible_embeddings --smoke    500 verses, without the others: does it run?

Everybody embeds the same verses with the same emulator (100 ms an answer) into the same PostgreSQL,
8 requests in flight of 128 texts each, 1,536 dimensions.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import bare_limit
from benchmarks.others import PEERS, last_json, peers_database, run_peer
from benchmarks.our_run import CODE
from benchmarks.workload import ROOT, VERSES, workload, write_texts
from openai_emulator.process import Emulator, running_emulator
from rag_assets.bible.model import BibleText
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.embedding.batching import text_hash
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings

LATENCY_MS, IN_FLIGHT, BATCH_SIZE = 100, 8, 128
PEER_JOBS = {"LangChain": "langchain_embed.py", "LlamaIndex": "llamaindex_embed.py"}
ALLOWED = VersionDeclaration("Benchmark", "en", "public domain", True, True)
BIBLES = ROOT.parent / "shared" / "data" / "bibles"


@dataclass(frozen=True)
class Row:
    """One line of the table. ``memory_mb`` is the peak beyond the interpreter with its imports."""

    what: str
    seconds: float
    requests: int | None = None
    memory_mb: float | None = None
    remark: str = ""


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="small and without the others")
    options.add_argument("--verses", type=int, help=f"verses; {VERSES:,} without --smoke")
    options.add_argument("--rounds", type=int, default=3, help="rounds of bare limit and ours")
    given = options.parse_args()
    count = given.verses or (500 if given.smoke else VERSES)
    rounds = 1 if given.smoke else given.rounds
    with _database() as (database, home), running_emulator(latency_ms=LATENCY_MS) as emulator:
        rows = run(database, home, emulator, count, rounds=rounds, peers=not given.smoke)
    show(rows, count)


def run(
    database: Database, home: Path, emulator: Emulator, count: int, *, rounds: int, peers: bool
) -> list[Row]:
    """Everything in one run; bare limit and ours in turn, so that drift meets both."""
    bible = workload(count)
    rows = [*(_reading() if peers else ()), _loading(database, bible)]
    texts = [verse.text for verse in bible.verses]
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(
            bare_limit.run(
                database.conninfo,
                emulator.base_url,
                texts,
                in_flight=IN_FLIGHT,
                batch_size=BATCH_SIZE,
            )
        )
        _forget_vectors(database)
        ours.append(_our_run(home, emulator))
    limit = sorted(bare)[len(bare) // 2]
    mine = sorted(ours, key=lambda row: row["seconds"])[len(ours) // 2]
    ratio = mine["seconds"] / limit
    rows.append(Row("bare limit: the requests and a binary COPY", limit, -(-count // BATCH_SIZE)))
    rows.append(_ours("ours, first run", mine, f"{ratio:.2f} × the bare limit"))
    rows.append(_ours("ours, nothing changed", _our_run(home, emulator)))
    _change(database, min(100, count))
    rows.append(_ours("ours, 100 verses changed", _our_run(home, emulator)))
    _forget_vectors(database)
    rows.append(_ours("ours, first run, both spaces", _our_run(home, emulator, both=True)))
    if peers:
        rows += _peers(database, emulator, bible, limit)
    return rows


def show(rows: list[Row], count: int) -> None:
    """The table, as Markdown, to be pasted into benchmarks/README.md, and for the terminal."""
    table = Table(title=f"{count:,} verses, {LATENCY_MS} ms, {IN_FLIGHT} × {BATCH_SIZE} in flight")
    for name in ("what", "s", "requests", "MB", ""):
        table.add_column(name, justify="left" if name in ("what", "") else "right")
    for row in rows:
        table.add_row(
            row.what,
            f"{row.seconds:.2f}",
            "" if row.requests is None else f"{row.requests:,}",
            "" if row.memory_mb is None else f"{row.memory_mb:.0f}",
            row.remark,
        )
    Console(width=120).print(table)


def _reading() -> Iterator[Row]:
    """Parsing whole versions, where they are at hand."""
    for place in ("EN_KJV/osis", "EN_WEB/usfm", "EN_ASV/usx", "PT_BLIVRE/usfm"):
        if (BIBLES / place).is_dir():
            started = time.perf_counter()
            read_bible(BIBLES / place)
            yield Row(f"parsing {place}", time.perf_counter() - started)


def _loading(database: Database, bible: BibleText) -> Row:
    started = time.perf_counter()
    with database.connect() as connection:
        load_verses(connection, CODE, ALLOWED, bible, source_hash="benchmark", run_id="benchmark")
    return Row("loading the verses into PostgreSQL", time.perf_counter() - started)


def _ours(what: str, result: Mapping[str, float], remark: str = "") -> Row:
    memory = result["peak_rss_mb"] - result["import_rss_mb"]
    return Row(what, result["seconds"], int(result["requests"]), memory, remark)


def _our_run(home: Path, emulator: Emulator, *, both: bool = False) -> dict[str, float]:
    settings = {
        "RAG_HOME": str(home),
        "RAG_BIBLES_DIR": str(home / "bibles"),
        "OPENAI_BASE_URL": emulator.base_url,
        "OPENAI_API_KEY": "sk-test-ours",
        "RAG_EMBEDDING_BATCH_SIZE": str(BATCH_SIZE),
        "RAG_EMBEDDING_CONCURRENCY": str(IN_FLIGHT),
        "RAG_EMBEDDING_RATE_LIMIT": "1000000",
        "RAG_EMBEDDING_TOKEN_LIMIT": "1000000000",
    }
    command = [sys.executable, "-m", "benchmarks.our_run", *(["--both-spaces"] if both else [])]
    return last_json(command, settings)


def _peers(database: Database, emulator: Emulator, bible: BibleText, limit: float) -> Iterator[Row]:
    if not PEERS.exists():
        yield Row("others: no .venv-peers, see benchmarks/peers/README.md", 0.0)
        return
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.jsonl"
        write_texts(bible, texts)
        url = peers_database(database)
        for name, script in PEER_JOBS.items():
            arguments = [
                "--database-url", url, "--base-url", emulator.base_url,
                "--texts", str(texts), "--batch-size", str(BATCH_SIZE),
                "--in-flight", str(IN_FLIGHT), "--table", f"bench_{name.lower()}",
            ]  # fmt: skip
            result = run_peer(script, arguments)
            yield Row(
                f"{name}, tuned, first run",
                result["seconds"],
                None,
                result["peak_rss_mb"] - result["import_rss_mb"],
                f"{result['seconds'] / limit:.1f} × the bare limit, {result['rows']:,.0f} rows",
            )


def _forget_vectors(database: Database) -> None:
    """As if nothing had ever been embedded; the spaces' tables stay."""
    with database.connect(autocommit=True) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables"
            " WHERE tablename LIKE 'verse\\_embeddings\\_s%' OR tablename LIKE 'answered%'"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f"TRUNCATE {table}")
        connection.execute("CHECKPOINT")


def _change(database: Database, count: int) -> None:
    """Change the text of so many verses, as a corrected edition would."""
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT verse_id, text FROM verses ORDER BY verse_id LIMIT %s", (count,)
        ).fetchall()
        for verse_id, text in rows:
            changed = f"{text} (corrected)"
            connection.execute(
                "UPDATE verses SET text = %s, text_hash = %s WHERE verse_id = %s",
                (changed, text_hash(changed), verse_id),
            )


@contextmanager
def _database() -> Iterator[tuple[Database, Path]]:
    """An embedded server of the benchmark's own, gone at the end."""
    home = Path(tempfile.mkdtemp(prefix="rag-bench-"))
    try:
        database = open_database(Settings(rag_home=home))
        migrate(database)
        yield database, home
    finally:
        embedded.release(home / "postgres")
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
