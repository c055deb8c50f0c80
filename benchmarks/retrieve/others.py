"""Tables of the others: made by them, filled with our very rows, indexed with our very lists."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from psycopg import sql

from benchmarks.index.bench import Bench, say
from benchmarks.others import PEERS
from benchmarks.retrieve import services
from benchmarks.retrieve.released import ServedCorpus
from benchmarks.retrieve.services import Service
from rag_assets.index.build_size import kilobytes
from rag_assets.postgres.database import one

_LANGCHAIN = "bench_langchain"
_LLAMAINDEX = "bench_llamaindex"  # PGVectorStore puts data_ before it
TABLES = {
    "LangChain": (_LANGCHAIN, "langchain_id"),
    "LlamaIndex": (f"data_{_LLAMAINDEX}", "node_id"),
}
"""Each other's table, with the column of its ids."""
_SCRIPTS = {"LangChain": "langchain_retrieve.py", "LlamaIndex": "llamaindex_retrieve.py"}


def start_others(
    bench: Bench, corpus: ServedCorpus, folder: Path, stack: ExitStack
) -> Iterator[Service]:
    """Each other's service over its own table; none where their environment is missing."""
    if not PEERS.exists():
        say("others: no .venv-peers, see benchmarks/peers/README.md")
        return
    parameters = bench.database.parameters()
    probes = corpus.vectors.probes
    assert probes is not None
    url = f"postgresql://{parameters['user']}@/{parameters['dbname']}?host={parameters['host']}"
    for name, script in _SCRIPTS.items():
        table = _LANGCHAIN if name == "LangChain" else _LLAMAINDEX
        arguments = [
            "--database-url", url, "--table", table, "--probes", str(probes.plain),
            "--dimensions", str(bench.corpus.dimensions),
        ]  # fmt: skip
        services.prepare_peer(script, arguments)
        (_fill_langchain if name == "LangChain" else _fill_llamaindex)(bench, corpus)
        _index(bench, corpus, table if name == "LangChain" else f"data_{table}")
        yield stack.enter_context(services.peer(name, script, arguments, folder))


def index_scans(bench: Bench) -> dict[str, int]:
    """How often each IVFFlat index was read so far, by its table: did the planner take it?"""
    with bench.database.connect() as connection:
        rows = connection.execute(
            """
            SELECT s.relname, sum(s.idx_scan)
              FROM pg_stat_user_indexes s JOIN pg_class c ON c.oid = s.indexrelid
              JOIN pg_am a ON a.oid = c.relam
             WHERE a.amname = 'ivfflat' GROUP BY 1
            """
        ).fetchall()
    return {name: int(scans) for name, scans in rows}


def _fill_langchain(bench: Bench, corpus: ServedCorpus) -> None:
    say("filling LangChain's table")
    with bench.database.connect() as connection:
        connection.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN embedding TYPE halfvec({})").format(
                sql.Identifier(_LANGCHAIN), sql.Literal(bench.corpus.dimensions)
            )
        )
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (langchain_id, content, embedding)"
                " SELECT e.verse_id::text, v.text, e.embedding"
                "   FROM {} e JOIN verses v USING (verse_id) ORDER BY e.verse_id"
            ).format(sql.Identifier(_LANGCHAIN), corpus.table.identifier)
        )


def _fill_llamaindex(bench: Bench, corpus: ServedCorpus) -> None:
    """The metadata of the one row that the library wrote, with each row's own id."""
    say("filling LlamaIndex' table")
    table = sql.Identifier(f"data_{_LLAMAINDEX}")
    with bench.database.connect() as connection:
        (metadata,) = one(connection.execute(
            sql.SQL("DELETE FROM {} RETURNING metadata_::text").format(table)
        ))  # fmt: skip
        connection.execute(
            sql.SQL(
                "INSERT INTO {} (text, metadata_, node_id, embedding)"
                " SELECT v.text, replace(%s, 'template', e.verse_id::text)::json,"
                "        e.verse_id::text, e.embedding"
                "   FROM {} e JOIN verses v USING (verse_id) ORDER BY e.verse_id"
            ).format(table, corpus.table.identifier),
            (metadata,),
        )


def _index(bench: Bench, corpus: ServedCorpus, table: str) -> None:
    say(f"indexing {table}")
    started = time.perf_counter()
    with bench.database.connect(autocommit=True) as session:
        for name, value in (
            ("maintenance_work_mem",
             f"{kilobytes(bench.settings.rag_index_maintenance_work_mem)}kB"),
            ("max_parallel_maintenance_workers", str(bench.settings.rag_index_parallel_workers)),
        ):  # fmt: skip
            session.execute("SELECT set_config(%s, %s, false)", (name, value))
        session.execute(
            sql.SQL(
                "CREATE INDEX ON {} USING ivfflat (embedding halfvec_cosine_ops) WITH (lists = {})"
            ).format(sql.Identifier(table), sql.Literal(corpus.vectors.lists))
        )
        session.execute(sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(table)))
        session.execute("CHECKPOINT")
    say(f"indexed in {time.perf_counter() - started:.1f} s")
