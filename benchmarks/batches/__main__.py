"""A batch at the provider: preparing it and taking its results in, beside JSON floats.

    python -m benchmarks.batches            50,000 texts, and 10,000 with JSON floats
    python -m benchmarks.batches --smoke    a few hundred

An embedded PostgreSQL of the benchmark's own, and the emulator, which answers at once. Each run is
a process of its own: the first writes, uploads and begins the batch, the second downloads and keeps
the results and publishes the version. *own s* is without the time in requests of the provider. The
exit status is 1 when preparing or taking in takes more than 10 s of CPU, PostgreSQL's included, or
350 MB.
"""

from __future__ import annotations

import argparse
import sys
import time

import psutil

from benchmarks.index.bench import Report, own_server, say, show
from benchmarks.others import last_json
from benchmarks.workload import workload
from openai_emulator.process import Emulator, running_emulator
from rag_assets.bible.model import BibleText, Verse
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.embedding.batch_lane import follow
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings

TEXTS, FLOATS, SMOKE = 50_000, 10_000, 300
MOST_S, MOST_MB = 10, 350
DECLARED = VersionDeclaration("Bench", "en", "CC0-1.0", ai_allowed=True, enabled_for_rag=True)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="a few hundred texts")
    smoke = options.parse_args().smoke
    with own_server() as (database, settings), running_emulator() as emulator:
        found = [
            *measure(database, settings, emulator, SMOKE if smoke else TEXTS, "base64"),
            *measure(database, settings, emulator, SMOKE if smoke else FLOATS, "float"),
        ]
    columns = ("what", "texts", "file MB", "own s", "publishing", "CPU s", "PostgreSQL's", "MB")
    show(
        Report(
            "Batches",
            (*columns, "provider s"),
            [row(what, texts, taken) for what, texts, taken in found],
        )
    )
    slow = [
        what
        for what, _, taken in found[:2]
        if taken["cpu_s"] + taken["server_s"] > MOST_S or taken["peak_mb"] > MOST_MB
    ]
    if slow and not smoke:
        sys.exit(f"more than {MOST_S} s or {MOST_MB} MB: {', '.join(slow)}")


def measure(
    database: Database, settings: Settings, emulator: Emulator, texts: int, encoding: str
) -> list[tuple[str, int, dict[str, float]]]:
    """Prepare a batch of a new version, and take its results in."""
    code = f"EN_{encoding.upper()}"
    say(f"{code}: loading {texts:,} verses")
    with database.connect() as connection:
        load_verses(connection, code, DECLARED, bible(code, texts), source_hash="b", run_id="b")
    chosen = {
        "RAG_HOME": str(settings.rag_home),
        "OPENAI_BASE_URL": emulator.base_url,
        "OPENAI_API_KEY": "sk-test-ours",
        "RAG_EMBEDDING_BATCH_SIZE": "128",
        "RAG_EMBEDDING_ENCODING": encoding,
        "RAG_EMBEDDING_TIMEOUT_S": "600",
        "RAG_BATCH_ENQUEUED_TOKENS": "1000000000",
    }
    command = [sys.executable, "-m", "benchmarks.batches.step", code]
    say(f"{code}: preparing")
    prepared = step(settings, command, chosen)
    say(f"{code}: the emulator answers")
    polled = Settings.model_validate({name.lower(): value for name, value in chosen.items()})
    with database.connect(autocommit=True) as connection:
        (batch,) = follow(connection, polled)
    assert batch.state == "ended", batch
    say(f"{code}: taking in")
    taken = step(settings, command, chosen)
    assert (prepared["waiting"], taken["embedded"]) == (texts, texts)
    return [(f"{encoding}: preparing", texts, prepared), (f"{encoding}: taking in", texts, taken)]


def step(settings: Settings, command: list[str], chosen: dict[str, str]) -> dict[str, float]:
    """One run, with the CPU time of the sessions that the server ended meanwhile."""
    (pid, *_) = (settings.rag_home / "postgres" / "postmaster.pid").read_text().split()
    server = psutil.Process(int(pid))

    def used() -> float:
        times = server.cpu_times()
        return float(times.children_user + times.children_system)

    before = used()
    taken = last_json(command, chosen)
    time.sleep(1)  # until the run's sessions have ended
    return taken | {"server_s": used() - before}


def bible(code: str, count: int) -> BibleText:
    """Distinct verses: real ones, numbered."""
    texts = [verse.text for verse in workload().verses]
    verses = tuple(
        Verse("GEN", 1 + place // 150, 1 + place % 150, 1 + place % 150,
              f"{texts[place % len(texts)]} ({code} {place})")
        for place in range(count)
    )  # fmt: skip
    return BibleText("made", verses, count, ())


def row(what: str, texts: int, taken: dict[str, float]) -> tuple[str, ...]:
    return (
        what,
        f"{texts:,}",
        f"{taken['file_mb']:.1f}",
        f"{taken['own_s']:.1f}",
        f"{taken['publish_s']:.1f}",
        f"{taken['cpu_s']:.1f}",
        f"{taken['server_s']:.1f}",
        f"{taken['peak_mb']:.0f}",
        f"{taken['provider_s']:.1f}",
    )


if __name__ == "__main__":
    main()
