"""Build an index generation beside those in use, and drop generations no longer needed."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from rag_assets.errors import IndexBuildError, reason_of
from rag_assets.index.build_size import build_size, megabytes
from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import Generation, ListsFrom
from rag_assets.interrupts import calling_before_end
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.settings.index import kilobytes
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.served import pinned_generations
from rag_assets.vectors.sql.tables import VectorTable, revision

_POLL_S = 0.5
_REPORT_EVERY_S = 10.0


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    :param codes: the codes to index; ``None`` to index the vectors, in ``precision``.
    :param maintenance_work_mem: a size in PostgreSQL's notation, such as ``2GB``.
    :param workers: parallel workers in addition to the session itself.
    """

    lists: int
    lists_from: ListsFrom
    precision: Precision
    maintenance_work_mem: str
    workers: int
    codes: CodeSet | None = None


def build(
    session: Connection,
    database: Database,
    table: VectorTable,
    options: BuildOptions,
    *,
    rows: int,
    run_id: str,
    progress: Progress,
) -> int:
    """Build a new generation with CREATE INDEX CONCURRENTLY and return its number.

    The caller checks with :func:`check_size` first.

    :param session: runs the build; it autocommits and holds the table's build lock.
    :raises IndexBuildError: not enough memory, disk or rows. Nothing is left behind.
    """
    index_builds.prepare_session(
        session,
        memory_kb=kilobytes(options.maintenance_work_mem),
        workers=options.workers,
    )
    number = generations.start_generation(
        session,
        table,
        precision=options.precision,
        lists=options.lists,
        lists_from=options.lists_from,
        rows=rows,
        revision=revision(session, table),
        run_id=run_id,
        code_set=options.codes.number if options.codes else None,
    )
    indexed = str(options.codes or options.precision)
    progress.say(
        f"building generation {number} of {table} over {indexed}: {options.lists} lists, "
        f"{rows:,} rows"
    )
    started = time.monotonic()
    _create(session, database, table, options, number, progress)
    index_builds.analyze(session, options.codes or table)
    (index,) = (index for index in live_indexes(session, table) if index.generation == number)
    seconds = time.monotonic() - started
    generations.finish_generation(session, number, seconds=seconds, size=index.bytes)
    progress.say(f"generation {number} built in {seconds:.1f} s, {index.bytes / 1e6:,.0f} MB")
    return number


def _create(
    session: Connection,
    database: Database,
    table: VectorTable,
    options: BuildOptions,
    number: int,
    progress: Progress,
) -> None:
    """Create the index of a generation, and drop it on any error."""
    with ThreadPoolExecutor(1) as thread, calling_before_end(partial(index_builds.cancel, session)):
        building = thread.submit(
            index_builds.create_index,
            session,
            table,
            number,
            precision=options.precision,
            codes=options.codes,
            lists=options.lists,
        )
        try:
            _watch(building, database, options.codes or table, progress)
            building.result()
        except BaseException as error:
            index_builds.cancel(session)  # an interrupted run must not leave the server building
            wait([building])
            _abandon(session, table, number, reason_of(error))
            raise


def check_size(
    connection: Connection,
    table: VectorTable,
    options: BuildOptions,
    *,
    rows: int,
    progress: Progress,
) -> None:
    """Refuse a build that cannot succeed, before it starts.

    :raises IndexBuildError: names the required figure.
    """
    if rows < options.lists:  # pgvector would build it anyway, with a notice
        raise IndexBuildError(
            f"{table}: {rows:,} rows are too little data for {options.lists} lists, recall would "
            "be low: ask for fewer lists, or leave it to exact search until there are more rows "
            "(RAG_INDEX_MIN_ROWS)"
        )
    size = build_size(
        rows=rows,
        lists=options.lists,
        dimensions=options.codes.recipe.bits if options.codes else table.space.spec.dimensions,
        precision="bit" if options.codes else options.precision,
    )
    allowed = kilobytes(options.maintenance_work_mem) * 1024
    if size.memory > allowed:
        raise IndexBuildError(
            f"{options.lists} lists over {rows:,} rows of {table} need {megabytes(size.memory)} MB "
            f"to build, and maintenance_work_mem is {options.maintenance_work_mem}: raise "
            f"RAG_INDEX_MAINTENANCE_WORK_MEM (in the launchpad: maintenance_work_mem) to "
            f"{megabytes(size.memory)}MB or more, or ask for fewer lists"
        )
    free = index_builds.free_disk_bytes(connection)
    if free is None:
        progress.say(
            f"the server is on another machine: check that it has {megabytes(size.disk):,} MB free"
        )
    elif size.disk > free:
        raise IndexBuildError(
            f"an index over {rows:,} rows of {table} needs {megabytes(size.disk):,} MB of disk "
            f"while it is built, and {megabytes(free):,} MB are free: make room, or keep fewer "
            "earlier releases (RAG_RELEASES_KEPT)"
        )


def drop_leftovers(session: Connection, table: VectorTable) -> tuple[str, ...]:
    """Drop the invalid indexes that failed builds left behind; return their names.

    An invalid index serves no query, slows down every write, and makes CREATE INDEX IF NOT EXISTS
    skip silently.

    :param session: holds the build lock, so none of them is still being built.
    """
    invalid = [index for index in live_indexes(session, table) if not index.valid]
    generations.drop_indexes(session, invalid)
    generations.fail_dead_builds(session, table)
    return tuple(index.name for index in invalid)


def drop_unneeded(
    session: Connection, table: VectorTable, upcoming: Generation | None, *, kept: int
) -> tuple[int, ...]:
    """Drop generations other than those of kept releases and the ``upcoming`` one."""
    pinned = pinned_generations(session, kept=kept)
    unneeded = [
        index
        for index in live_indexes(session, table)
        if index.generation is not None
        and index.generation not in pinned
        and (upcoming is None or index.generation != upcoming.number)
    ]
    generations.drop_indexes(session, unneeded)
    return tuple(index.generation for index in unneeded if index.generation is not None)


def _watch(
    building: Future[str], database: Database, relation: VectorTable | CodeSet, progress: Progress
) -> None:
    """Report each new phase, and every ten seconds how far it is."""
    phase, reported_at = "", 0.0
    with database.connect(autocommit=True) as watcher:
        while not wait([building], timeout=_POLL_S).done:
            found = index_builds.build_progress(watcher, relation)
            now = time.monotonic()
            if found is None or (found.phase == phase and now - reported_at < _REPORT_EVERY_S):
                continue
            phase, reported_at = found.phase, now
            share = (
                f", {found.tuples_done:,} of {found.tuples_total:,} rows "
                f"({found.tuples_done / found.tuples_total:.0%})"
                if found.tuples_total
                else ""
            )
            progress.say(f"{phase}{share}")


def _abandon(session: Connection, table: VectorTable, number: int, error: str) -> None:
    """Drop what was built of a generation; if the session is lost, the next run does it."""
    if session.closed or session.broken:
        return
    built = [index for index in live_indexes(session, table) if index.generation == number]
    generations.drop_indexes(session, built)
    generations.fail_generation(session, number, error)
