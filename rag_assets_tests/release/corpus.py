"""Prepare a corpus for release: really loaded, embedded, checked and indexed."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from rag_assets.bible.embed_verses import EmbedOptions
from rag_assets.bible.embed_versions import embed_spaces
from rag_assets.bible.quality import version_quality
from rag_assets.index.checks import INDEX_CHECKS, judge_index
from rag_assets.index.indexed_tables import candidate_table, indexed_tables
from rag_assets.index.maintain import IndexOutcome, IndexRequest, maintain
from rag_assets.index.sql.generations import index_subject
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.release.evidence import gather_evidence
from rag_assets.release.releasing import Released, release
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import QUALITY_CHECKS, keep_evidence
from rag_assets.vectors.sql.check_results import record_check
from rag_assets.vectors.sql.code_sets import use_columns
from rag_assets.vectors.sql.indexes import LIVE_NAMES
from rag_assets.vectors.sql.served import active_release
from rag_assets.vectors.sql.spaces import Role, find_space
from rag_assets.vectors.sql.tables import VectorTable, announce, bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences

LISTS = 4
LIVING = LIVE_NAMES["bible"]


def release_settings(make_settings: MakeSettings, **overrides: object) -> Settings:
    """Small vectors, exact search, no golden queries, no hurry.

    ``rag_index_min_rows=1`` makes it an index of four lists.
    """
    values: dict[str, object] = {
        "rag_embedding_small_dimensions": 64,
        "rag_embedding_large_dimensions": 96,
        "rag_code_bits": 0,
        "rag_index_lists": LISTS,
        "rag_search_exact_rows": 10,
        "rag_golden_queries": None,
        "rag_index_text_sample": 0,  # four lists over so few rows lose some by chance
        "rag_slo_p95_ms": 60_000,
    }
    return make_settings(**(values | overrides))


def embed(
    database: Database,
    settings: Settings,
    code: str,
    texts: Sequence[str] | None = None,
    *,
    roles: Sequence[Role] = ("small",),
) -> None:
    """Load a version, when texts are given, and embed it."""
    if texts is not None:
        load_version(database, code, texts)
    embed_spaces(database, settings, code, EmbedOptions(roles=roles), run_id="embed")


def check(database: Database, settings: Settings, *codes: str) -> None:
    """Run the four checks of these versions and record the evidence, whatever it is."""
    with database.connect() as connection:
        for code in codes:
            found = version_quality(connection, settings, code)
            keep_evidence(connection, code, found, list(QUALITY_CHECKS), run_id="check")


def index(database: Database, settings: Settings, *, force: bool = False) -> IndexOutcome:
    """Decide on the index, build it if necessary, record passing checks; return the outcome."""
    with database.connect() as connection:
        tables = indexed_tables(connection, settings)
    request = IndexRequest(force=force)
    outcome, *_ = [
        maintain(database, settings, table, asked, run_id="index", progress=Silent())
        for table, asked in zip(tables, [request, IndexRequest()], strict=False)
    ]
    vouch(database, settings)
    return outcome


def vouch(database: Database, settings: Settings) -> None:
    """Record passing results for the decided index, without the time for measuring.

    Where it is the measuring that matters, use :func:`judge`.
    """
    with database.connect() as connection:
        known = gather_evidence(connection, settings)
        found = known.index
        assert found is not None
        assert found.decision is not None
        probes = found.probes
        for name in INDEX_CHECKS:
            record_check(
                connection,
                known.tables["small"],
                subject=index_subject(found.decision.generation, found.codes),
                check=name,
                reasons=(),
                measured={
                    "versions": [
                        version.code
                        for version in known.versions
                        if not version.withheld and version.spaces["small"].rows
                    ],
                    "probes": probes.plain if probes else None,
                    "filtered_probes": probes.filtered if probes else None,
                    **use_columns(found.codes),
                },
                revision=found.revision,
                run_id="vouch",
            )


def judge(database: Database, settings: Settings) -> None:
    """Run the checks of the decided index."""
    verdicts = judge_index(
        database,
        settings,
        table_of(database, settings),
        list(INDEX_CHECKS),
        run_id="judge",
        progress=Silent(),
    )
    for _ in verdicts:
        pass


def prepare(
    database: Database,
    settings: Settings,
    code: str = "EN_A",
    texts: Sequence[str] | None = None,
    *,
    force: bool = False,
) -> None:
    """Everything that a release with one more version needs."""
    embed(database, settings, code, texts or sentences(60, word=code))
    check(database, settings, code)
    index(database, settings, force=force)


def release_corpus(
    database: Database,
    settings: Settings,
    *,
    leave_out: bool = False,
    after_rollback: bool = False,
) -> Released:
    """Release what passes the gate."""
    return release(
        database,
        settings,
        run_id="release",
        leave_out_failing=leave_out or None,
        after_rollback=after_rollback,
    )


def table_of(database: Database, settings: Settings) -> VectorTable:
    """The table of the settings' small space."""
    with database.connect() as connection:
        return candidate_table(connection, settings)


def tamper(database: Database, settings: Settings, code: str, role: Role = "small") -> None:
    """Make one vector of a version wrong, as an embedding run with a fault would."""
    with database.connect() as connection:
        space = find_space(connection, settings, role)
        assert space is not None
        announce(connection, bible_table(space), code)
        table = bible_table(space).identifier
        connection.execute(
            sql.SQL(
                "UPDATE {table} SET embedding = (embedding::vector * array_fill(3::real,"
                " ARRAY[vector_dims(embedding)])::vector)::halfvec"
                " WHERE verse_id = (SELECT min(verse_id) FROM {table} WHERE version_code = %s)"
            ).format(table=table),
            (code,),
        )


def active_number(database: Database) -> int | None:
    """The number of the release that is active."""
    with database.connect() as connection:
        found = active_release(connection)
    return found.release_id if found else None


def states(database: Database) -> list[tuple[int, str]]:
    """Number and state of each release."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT release_id, state FROM releases ORDER BY release_id"
        ).fetchall()


def index_of_name(database: Database, name: str = LIVING) -> tuple[str, int] | None:
    """The table and the generation of the index with a name."""
    with database.connect() as connection:
        row = connection.execute(
            """
            SELECT indrelid::regclass::text,
                   substring(pg_get_expr(indpred, indrelid) FROM '-(\\d+)')::int
              FROM pg_index WHERE indexrelid = to_regclass(%s)
            """,
            (name,),
        ).fetchone()
    return (row[0], row[1]) if row else None


def indexed_generations(database: Database) -> list[int]:
    """Generations whose index exists."""
    with database.connect() as connection:
        rows = connection.execute(
            """
            SELECT substring(pg_get_expr(indpred, indrelid) FROM '-(\\d+)')::int AS generation
              FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = c.relam
             WHERE a.amname = 'ivfflat' ORDER BY 1
            """
        ).fetchall()
    return [row[0] for row in rows]
