"""Build one index generation beside those that serve, and drop what nothing needs any more."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from rag_assets.errors import IndexBuildError, reason_of
from rag_assets.index.build_size import build_size, kilobytes, megabytes
from rag_assets.index.sql import builds as index_builds
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import Generation, ListsFrom
from rag_assets.interrupts import let_go_by
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.settings.model import Precision
from rag_assets.vectors.sql.code_sets import CodeSet
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.served import pinned_generations
from rag_assets.vectors.sql.tables import VectorTable, revision

_POLL_S = 0.5
_SAY_EVERY_S = 10.0


@dataclass(frozen=True)
class BuildOptions:
    """How to build.

    :param codes: what is indexed; ``None`` for the vectors, in ``precision``.
    :param maintenance_work_mem: as PostgreSQL writes sizes, such as ``2GB``.
    :param workers: parallel workers beside the session itself.
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
    """Build a new generation with CREATE INDEX CONCURRENTLY; its number. Call check_size first.

    :param session: autocommits and holds the table's build lock; it does the building.
    :raises IndexBuildError: memory, disk or rows do not suffice. Nothing is left behind.
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
    """Create the index of a generation; it is given up on any error."""
    with ThreadPoolExecutor(1) as thread, let_go_by(partial(index_builds.cancel, session)):
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
            _give_up(session, table, number, reason_of(error))
            raise


def check_size(
    connection: Connection,
    table: VectorTable,
    options: BuildOptions,
    *,
    rows: int,
    progress: Progress,
) -> None:
    """Refuse a build that cannot succeed, before anything is built.

    :raises IndexBuildError: naming the figure that is needed.
    """
    if rows < options.lists:  # pgvector builds it all the same, and remarks on it
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
    given = kilobytes(options.maintenance_work_mem) * 1024
    if size.memory > given:
        raise IndexBuildError(
            f"{options.lists} lists over {rows:,} rows of {table} need {megabytes(size.memory)} MB "
            f"to build, and maintenance_work_mem is {options.maintenance_work_mem}: raise "
            f"RAG_INDEX_MAINTENANCE_WORK_MEM (in the launchpad: maintenance_work_mem) to "
            f"{megabytes(size.memory)}MB or more, or ask for fewer lists"
        )
    free = index_builds.free_disk_bytes(connection)
    if free is None:
        progress.say(
            f"the server is on another machine: see that it has {megabytes(size.disk):,} MB free"
        )
    elif size.disk > free:
        raise IndexBuildError(
            f"an index over {rows:,} rows of {table} needs {megabytes(size.disk):,} MB of disk "
            f"while it is built, and {megabytes(free):,} MB are free: make room, or keep fewer "
            "earlier releases (RAG_RELEASES_KEPT)"
        )


def drop_leftovers(session: Connection, table: VectorTable) -> tuple[str, ...]:
    """Drop what failed builds left behind; their indexes' names.

    An invalid index is no use to anybody, costs every write, and lets CREATE INDEX IF NOT EXISTS
    skip in silence. :param session: holds the build lock, so that none of them is being built.
    """
    invalid = [index for index in live_indexes(session, table) if not index.valid]
    generations.drop_indexes(session, invalid)
    generations.fail_dead_builds(session, table)
    return tuple(index.name for index in invalid)


def drop_unneeded(
    session: Connection, table: VectorTable, next_up: Generation | None, *, kept: int
) -> tuple[int, ...]:
    """Drop generations that no kept release serves and that are not the next to serve."""
    pinned = pinned_generations(session, kept=kept)
    gone = [
        index
        for index in live_indexes(session, table)
        if index.generation is not None
        and index.generation not in pinned
        and (next_up is None or index.generation != next_up.number)
    ]
    generations.drop_indexes(session, gone)
    return tuple(index.generation for index in gone if index.generation is not None)


def _watch(
    building: Future[str], database: Database, relation: VectorTable | CodeSet, progress: Progress
) -> None:
    """Tell each phase as it comes, its share where there is one, and a sign of life otherwise."""
    phase, told = "", 0.0
    with database.connect(autocommit=True) as watcher:
        while not wait([building], timeout=_POLL_S).done:
            found = index_builds.build_progress(watcher, relation)
            now = time.monotonic()
            if found is None or (found.phase == phase and now - told < _SAY_EVERY_S):
                continue
            phase, told = found.phase, now
            share = (
                f", {found.tuples_done:,} of {found.tuples_total:,} rows "
                f"({found.tuples_done / found.tuples_total:.0%})"
                if found.tuples_total
                else ""
            )
            progress.say(f"{phase}{share}")


def _give_up(session: Connection, table: VectorTable, number: int, error: str) -> None:
    """Drop what there is of a generation; when the server is gone, the next run does it."""
    if session.closed or session.broken:
        return
    built = [index for index in live_indexes(session, table) if index.generation == number]
    generations.drop_indexes(session, built)
    generations.fail_generation(session, number, error)
