"""The document lane measured: a drop of documents, until each of them can be found.

    python -m benchmarks.documents            the tables of benchmarks/README.md
    python -m benchmarks.documents --smoke    a few documents: does it run?

`rag-assets up` with the project's dagster.yaml, the embeddings of an emulator that takes 100 ms an
answer, an embedded PostgreSQL of the benchmark's own. Then CocoIndex with the same documents, where
.venv-peers has it. `benchmarks.documents.extraction` measures extraction and chunking alone,
`benchmarks.documents.scan` a look into a full inbox.
"""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks.documents.cocoindex import Look, looks
from benchmarks.documents.flow import LATENCY_MS, Flow, flow
from benchmarks.index.bench import Report, show

DOCUMENTS, SMOKE_DOCUMENTS = 2_000, 20


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="a few documents, ours alone")
    options.add_argument("--documents", type=int, help=f"{DOCUMENTS:,} without --smoke")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take everything along
    count = given.documents or (SMOKE_DOCUMENTS if given.smoke else DOCUMENTS)
    kinds = (True,) if given.smoke else (False, True)
    seen = [flow(count, large=large, smoke=given.smoke) for large in kinds]
    rows = [row for one in seen for row in _rows(one)]
    if not given.smoke:
        rows += map(_other, looks(count))
    show(
        Report(
            f"{count:,} Markdown documents of 2 to 20 kB dropped at once, {LATENCY_MS} ms",
            ("drop", "first found, s", "all small, s", "large, s", "dead", "requests", "texts",
             "a run, MB"),
            rows,
        )
    )  # fmt: skip
    show(
        Report(
            "CPU by process: seconds of the drop, cores while idle",
            ("process", *(_name(one) for one in seen), "idle"),
            [
                (kind, *(f"{one.cpu.get(kind, 0):.1f}" for one in seen), f"{used:.3f}")
                for kind, used in seen[0].idle.items()
            ],
        )
    )


def _rows(seen: Flow) -> list[tuple[str, ...]]:
    rows = [_drop(seen)]
    if seen.changed_s:
        rows += [
            (f"{seen.changed} changed", "", f"{seen.changed_s:.1f}", *[""] * 5),
            ("one more, into the idle system", "", f"{seen.one_s:.1f}", *[""] * 5),
        ]
    return rows


def _name(seen: Flow) -> str:
    return "with a large one" if seen.large else "small ones alone"


def _drop(seen: Flow) -> tuple[str, ...]:
    return (
        _name(seen),
        f"{seen.first_s:.1f}",
        f"{seen.small_s:.1f}",
        f"{seen.large_s:.1f}" if seen.large else "",
        str(seen.dead),
        f"{seen.requests:,}",
        f"{seen.texts:,}",
        f"{seen.run_mb:.0f}",
    )


def _other(look: Look) -> tuple[str, ...]:
    return (
        f"CocoIndex, {look.what}, {look.rows:,} rows",
        "" if look.first_s is None else f"{look.first_s:.1f}",
        f"{look.seconds:.1f}",
        "",
        "",
        f"{look.requests:,}",
        f"{look.texts:,}",
        f"{look.peak_mb:.0f}",
    )


if __name__ == "__main__":
    main()
