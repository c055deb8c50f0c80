"""Extraction and chunking alone: files in, chunks out, by the child processes that a run uses.

    python -m benchmarks.documents.extraction            2,000 small documents, and the large one
    python -m benchmarks.documents.extraction --smoke    50 small documents

Neither a database nor an embedding is in it. `cold` is the time until the first document is there:
the child's start and its first words. `MB` is the most memory that a child had.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.documents.corpus import large_document, small_documents
from benchmarks.index.bench import Report, show
from rag_assets.documents.sandbox import Extractor, extraction_limits
from rag_assets.settings.model import Settings

DOCUMENTS, SMOKE_DOCUMENTS = 2_000, 50


@dataclass
class Reading:
    """What one child did."""

    chunks: int = 0
    tokens: int = 0
    extract_s: float = 0.0
    chunk_s: float = 0.0
    cold_s: float = 0.0
    megabytes: float = 0.0


def read_all(files: Sequence[Path], reading: Reading) -> None:
    """Read the files one after another, in a child of their own."""
    began = time.perf_counter()
    with Extractor(extraction_limits(Settings())) as extractor:
        for path in files:
            content_hash = hashlib.sha256(path.read_bytes()).digest()
            with path.open("rb") as file:
                document = extractor.extract(file, path.name, content_hash)
            reading.cold_s = reading.cold_s or time.perf_counter() - began
            reading.chunks += len(document.chunks)
            reading.tokens += sum(chunk.tokens for chunk in document.chunks)
            reading.extract_s += document.seconds["extract"]
            reading.chunk_s += document.seconds["chunk"]
            if extractor.pid is not None:
                reading.megabytes = _peak_mb(extractor.pid)


def measure(files: Sequence[Path], children: int) -> tuple[float, list[Reading]]:
    """Seconds of wall time from the first child's start to the last document, and what was read."""
    readings = [Reading() for _ in range(children)]
    threads = [
        threading.Thread(target=read_all, args=(files[place::children], reading))
        for place, reading in enumerate(readings)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began, readings


def _peak_mb(pid: int) -> float:
    """The most memory that a process ever had."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return psutil.Process(pid).memory_info().rss / 2**20


def _row(what: str, files: Sequence[Path], children: int) -> tuple[str, ...]:
    seconds, readings = measure(files, children)
    return (
        what,
        str(children),
        f"{seconds:.2f}",
        f"{len(files) / seconds:,.0f}",
        f"{sum(path.stat().st_size for path in files) / seconds / 1e6:.1f}",
        f"{sum(reading.chunks for reading in readings):,}",
        f"{sum(reading.extract_s for reading in readings):.2f}",
        f"{sum(reading.chunk_s for reading in readings):.2f}",
        f"{max(reading.cold_s for reading in readings):.2f}",
        f"{max(reading.megabytes for reading in readings):.0f}",
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="a few documents")
    smoke: bool = options.parse_args().smoke
    with tempfile.TemporaryDirectory(prefix="rag-extraction-") as folder:
        files = []
        for name, text in small_documents(SMOKE_DOCUMENTS if smoke else DOCUMENTS):
            path = Path(folder, name.replace("/", "-"))
            path.write_text(text, encoding="utf-8")
            files.append(path)
        large = Path(folder, "large.md")
        large.write_bytes(large_document(smoke=smoke))
        rows = [
            _row("small documents", files, 1),
            _row("small documents", files, 2),
            _row("the large one", [large], 1),
        ]
    show(
        Report(
            "extraction and chunking alone",
            ("what", "children", "s", "documents a second", "MB a second", "chunks",
             "extract, s", "chunk, s", "cold, s", "MB"),
            rows,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
