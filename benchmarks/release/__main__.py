"""From new files to served: a version dropped into a running system, until a release serves it.

    python -m benchmarks.release            11,700 verses: the table of benchmarks/README.md
    python -m benchmarks.release --smoke    one sample beside the other: does it run?

The real webserver and daemon with the project's dagster.yaml, the offline embedder, an embedded
PostgreSQL of the benchmark's own. The profile is read from Dagster's events: what each step took,
and what passed between them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.index.bench import Report, own_server, say, show
from benchmarks.release.profile import Span, spans_since
from benchmarks.release.versions import Source, add, sources
from benchmarks.workload import ROOT
from rag_assets.postgres.database import Database, dagster_database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.served import active_release
from rag_assets_tests.defs.deployment import Deployment, deployed, wait_for

_LONGEST_S = 900.0


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="the samples alone")
    options.add_argument("--log", action="store_true", help="also each line that the runs logged")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take everything along
    *first, added = sources(smoke=given.smoke)
    with (
        own_server() as (database, settings),
        tempfile.TemporaryDirectory(prefix="rag-bench-release-") as name,
    ):
        folder = Path(name)
        environment = {
            "RAG_HOME": str(settings.rag_home),
            "RAG_BIBLES_DIR": str(folder / "bibles"),
            "RAG_DOCUMENTS_URL": str(folder / "inbox"),
            "RAG_EMBEDDING_PROVIDER": "offline",
            "RAG_GOLDEN_QUERIES": str(ROOT / "samples" / "golden_queries.toml"),
        }
        here = settings.model_copy(update={"rag_bibles_dir": folder / "bibles"})
        verses = sum(add(here, source) for source in first)
        with deployed(folder, environment) as deployment:
            say(f"{verses:,} verses to begin with")
            _until_served(database, deployment, {source.code for source in first})
            _report(database, here, deployment, added, log=given.log)


def _report(
    database: Database, settings: Settings, deployment: Deployment, added: Source, *, log: bool
) -> None:
    with database.connect(autocommit=True) as connection:
        (began,) = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8"
                                      ).fetchone() or (0.0,)  # fmt: skip
    verses = add(settings, added)
    say(f"dropped {added.code}: {verses:,} verses")
    started = time.perf_counter()
    _until_served(database, deployment, {added.code})
    served_s = time.perf_counter() - started
    with dagster_database(settings).connect() as connection:
        spans = spans_since(connection, began)
    show(
        Report(
            f"{verses:,} verses of {added.code}, from files to served",
            ("what", "from, s", "took, s"),
            [*map(_row, spans), ("served", f"{served_s:.1f}", "")],
        )
    )
    if log:
        for span in spans:
            for at, line in span.lines:
                say(f"{at:6.1f} {span.what}: {line}")


def _row(span: Span) -> tuple[str, ...]:
    return span.what, f"{span.start_s:.1f}", f"{span.seconds:.1f}"


def _until_served(database: Database, deployment: Deployment, wanted: set[str]) -> None:
    def serves() -> bool:
        with database.connect(autocommit=True) as connection:
            release = active_release(connection)
        return release is not None and wanted <= set(release.versions)

    wait_for(f"a release of {', '.join(sorted(wanted))}", serves, deployment, timeout_s=_LONGEST_S)


if __name__ == "__main__":
    main()
