"""What both peers' scripts share: arguments, texts, the address, and the last line.

Nothing here embeds or stores: that is each script's own, so that neither peer pays for the other.
Runs in ``.venv-peers`` and never imports rag_assets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import MetaData, Table, func, select, table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

MODEL = "text-embedding-3-small"
DIMENSIONS = 1536

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Text:
    """One line of the texts' file. ``id`` is a reference such as ``GEN 1:1``."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Options:
    """What the benchmark orders; the API key comes from ``OPENAI_API_KEY``.

    :param in_flight: requests to the provider at the same time, of ``batch_size`` texts each.
    """

    database_url: URL
    base_url: str
    texts: Path
    batch_size: int
    in_flight: int
    table: str


@dataclass(frozen=True, slots=True)
class Measured:
    """The line that the benchmark reads.

    :param seconds: wall time of embedding and storing, without imports, reading and set-up.
    :param rows: counted by SQL afterwards.
    :param peak_rss_mb: the process's peak, in MB of 10⁶ bytes as the other.
    :param import_rss_mb: after the imports, before the texts are read.
    """

    seconds: float
    rows: int
    peak_rss_mb: float
    import_rss_mb: float

    def print(self) -> None:
        """As one line of JSON."""
        print(json.dumps(asdict(self)), flush=True)


def read_options(description: str) -> Options:
    """The command line's."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--database-url", type=make_url, required=True)
    parser.add_argument("--base-url", required=True, help="such as http://127.0.0.1:8080/v1")
    parser.add_argument("--texts", type=Path, required=True, help='{"id": …, "text": …} a line')
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--table", required=True, help="dropped first, then made by the peer")
    return Options(**vars(parser.parse_args()))


def read_texts(path: Path) -> list[Text]:
    """All texts of a JSON lines file."""
    with path.open(encoding="utf-8") as lines:
        return [Text(**json.loads(line)) for line in lines]


def with_driver(url: URL, driver: str) -> URL:
    """The same database for SQLAlchemy with this driver; ``?host=/folder`` stays as it is."""
    return url.set(drivername=f"postgresql+{driver}")


async def drop_table(engine: AsyncEngine, name: str) -> None:
    """So that each run stores every row, whatever an earlier one left."""
    async with engine.begin() as connection:
        await connection.run_sync(Table(name, MetaData()).drop, checkfirst=True)


async def count_rows(engine: AsyncEngine, name: str) -> int:
    """Of one table."""
    async with engine.connect() as connection:
        return int(await connection.scalar(select(func.count()).select_from(table(name))) or 0)


async def run_workers(
    items: list[Item], work: Callable[[list[Item]], Awaitable[object]], *, size: int, workers: int
) -> None:
    """``workers`` tasks that take slices of ``size`` items until none is left."""
    slices: Iterator[list[Item]] = (
        items[start : start + size] for start in range(0, len(items), size)
    )

    async def worker() -> None:
        for batch in slices:
            await work(batch)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(worker())
