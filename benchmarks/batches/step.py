"""One run on a version, in a process of its own; the last line printed is JSON.

Settings come from the environment. What the provider takes (uploads, downloads, other requests) is
measured apart.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.peers.memory import peak_rss_mb
from rag_assets.bible import embed_verses
from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.embedding.providers.batch_api import BatchApi
from rag_assets.postgres.database import open_database
from rag_assets.settings.model import load_settings

OF_THE_PROVIDER = ("supported", "upload", "create", "find", "retrieve", "download")


def main() -> None:
    seconds: Counter[str] = Counter()
    for name in OF_THE_PROVIDER:
        _timed(BatchApi, name, seconds)
    _timed(embed_verses, "_publish", seconds)
    files: list[int] = []
    _measured(files)
    settings = load_settings()
    database = open_database(settings)
    imports_mb = psutil.Process().memory_info().rss / 1e6
    used, began = time.process_time(), time.perf_counter()
    options = EmbedOptions(requests="batch")
    report = embed_version(database, settings, sys.argv[1], options, "small", run_id="bench")
    whole = time.perf_counter() - began
    provider = sum(seconds[name] for name in OF_THE_PROVIDER)
    peak_mb = peak_rss_mb()
    print(
        json.dumps(
            {
                "own_s": whole - provider,
                "publish_s": seconds["_publish"],
                "provider_s": provider,
                "cpu_s": time.process_time() - used,
                "peak_mb": peak_mb,
                "import_mb": imports_mb,
                "file_mb": sum(files) / 1e6,
                "waiting": report.waiting,
                "embedded": report.embedded,
            }
        )
    )


def _timed(owner: Any, name: str, seconds: Counter[str]) -> None:
    before: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return before(*arguments, **options)
        finally:
            seconds[name] += time.perf_counter() - began  # type: ignore[assignment]

    setattr(owner, name, timed)


def _measured(files: list[int]) -> None:
    """Note the size of what is uploaded and downloaded."""
    upload, download = BatchApi.upload, BatchApi.download

    def measured_upload(api: BatchApi, path: Any) -> str:
        files.append(path.stat().st_size)
        return upload(api, path)

    def measured_download(api: BatchApi, file_id: str, into: Any) -> None:
        download(api, file_id, into)
        files.append(into.tell())

    BatchApi.upload, BatchApi.download = measured_upload, measured_download  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
