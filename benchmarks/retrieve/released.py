"""A corpus that is served: vectors, codes and indexes by ``maintain()``, texts, releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from benchmarks.index.bench import RUN_ID, Bench, row_text, say
from rag_assets.embedding.batching import text_hash
from rag_assets.index.maintain import IndexOutcome, IndexRequest, maintain
from rag_assets.index.sql.generations import Generation
from rag_assets.postgres.database import Connection
from rag_assets.progress import LogLines
from rag_assets.release.sql.releases import activate_release, write_release
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.code_sets import CodeUse
from rag_assets.vectors.sql.served import ReleasedSpace
from rag_assets.vectors.sql.tables import VectorTable


@dataclass(frozen=True)
class ServedCorpus:
    """What was released, and how.

    :param scopes: rows by version.
    :param vectors: an index over the vectors, tuned to the same recall: what the others search.
    :param generation: what the release serves; ``None`` where a scan of the codes does.
    :param codes: how the release uses its codes.
    """

    table: VectorTable
    scopes: Mapping[str, int]
    vectors: Generation
    generation: Generation | None
    codes: CodeUse | None


def serve_corpus(bench: Bench, rows: int) -> ServedCorpus:
    """Fill, index the vectors, then index as the product decides, and release all versions.

    Tuned with held-out queries, each time.
    """
    model = bench.settings.rag_embedding_small_model  # the emulator knows no other
    table = bench.space_table(model, "halfvec")
    bench.fill(table, rows)
    fill_verses(bench, table)
    say("building and tuning an index over the vectors")
    # Searches here have no filter: with this, none is tuned for.
    plain = bench.settings.model_copy(update={"rag_search_exact_rows": rows, "rag_code_bits": 0})
    vectors = _kept(bench, table, plain, IndexRequest(force=True)).generation
    assert vectors is not None
    with bench.database.connect() as connection:
        scopes = servable_scopes(connection, bench.settings, table)
        activate_release(connection, release_row(connection, table, vectors, None, scopes))
    say("codes, and the product's decision")
    chosen = bench.settings.model_copy(update={"rag_code_bits": None})
    outcome = _kept(bench, table, chosen, IndexRequest())
    codes = outcome.codes.use if outcome.codes else None
    if outcome.generation is not None and outcome.generation.codes is not None:
        codes = outcome.generation.codes
    with bench.database.connect() as connection:
        made = release_row(connection, table, outcome.generation, codes, scopes)
        activate_release(connection, made)
    return ServedCorpus(table, scopes, vectors, outcome.generation, codes)


def _kept(
    bench: Bench, table: VectorTable, settings: Settings, request: IndexRequest
) -> IndexOutcome:
    return maintain(
        bench.database,
        settings,
        table,
        request,
        run_id=RUN_ID,
        progress=LogLines(say),
        queries=bench.corpus.queries(0, bench.tuning),
    )


def release_row(
    connection: Connection,
    table: VectorTable,
    generation: Generation | None,
    codes: CodeUse | None,
    scopes: Mapping[str, int],
    versions: Sequence[str] | None = None,
) -> int:
    """A candidate of these versions, as the gate would write it; its number."""
    chosen = sorted(scopes if versions is None else versions)
    content = {"versions": {code: {"rows": scopes[code]} for code in chosen}}
    number, probes = (generation.number, generation.probes) if generation else (None, None)
    return write_release(
        connection,
        versions=chosen,
        spaces=[ReleasedSpace("bible", "small", table.space.space_id, number, probes, codes)],
        manifest={"content": content},
        reasons=(),
        code_version="benchmark",
        run_id=RUN_ID,
    )


def fill_verses(bench: Bench, table: VectorTable) -> None:
    """A verse for each row of the table, with the text that its vector is said to be of."""
    say("filling verses")
    with bench.database.connect() as connection:
        rows = connection.execute(
            sql.SQL("SELECT verse_id, version_code FROM {} ORDER BY verse_id").format(
                table.identifier
            )
        ).fetchall()
        with connection.cursor().copy(
            "COPY verses (verse_id, version_code, book, book_order, chapter, verse, verse_end,"
            " text, text_hash) FROM STDIN"
        ) as copy:
            for number, code in rows:
                chapter, verse = divmod(number, 1000)
                text = row_text(number)
                copy.write_row(
                    (number, code, "GEN", 1, chapter, verse, verse, text, text_hash(text))
                )
    with bench.database.connect(autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE verses")
        connection.execute("CHECKPOINT")
