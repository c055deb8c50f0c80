"""The audit finds each fault, caused as an operator could, repairs it, and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import dagster as dg
import pytest

from rag_assets.bible.sql.verses import remove_version
from rag_assets.definitions import build_defs
from rag_assets.errors import AuditError
from rag_assets.index.maintain import IndexRequest, maintain
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.served import active_release
from rag_assets_tests.defs.audited import Audited, build, copied, show_untrue_partitions
from rag_assets_tests.defs.conftest import Lane, Run
from rag_assets_tests.defs.releasing import NO_LOG_CAPTURE, run_job

HIDDEN = "SET LOCAL session_replication_role = replica"
"""As a restore with --disable-triggers writes: no trigger sees it."""


Cause = Callable[[Audited], None]
"""Makes a fault."""


def _sql(*statements: str) -> Cause:
    return lambda audited: audited.run(*statements)


def _drop_a_file(audited: Audited) -> None:
    (Path(audited.settings.rag_documents_url) / "four.md").write_text("# Four\n\nA new text.\n")


CAUSES: dict[str, Cause] = {
    "missing_vector": _sql("DELETE FROM verse_embeddings_s1 WHERE verse_id = FIRST"),
    "orphaned_vector": _sql(
        HIDDEN,
        "INSERT INTO verse_embeddings_s1 SELECT 99999, version_code, language, book, chapter,"
        " embedding, text_hash, run_id FROM verse_embeddings_s1 WHERE verse_id = FIRST + 10",
    ),
    "stale_text_hash": _sql(
        HIDDEN,
        "UPDATE verse_embeddings_s1 SET text_hash = sha256('old') WHERE verse_id = FIRST + 1",
    ),
    "duplicate_reference": _sql(
        "ALTER TABLE verses DROP CONSTRAINT verses_version_code_book_chapter_verse_key",
        "INSERT INTO verses (version_code, book, book_order, chapter, verse, verse_end, text,"
        " text_hash) SELECT version_code, book, book_order, chapter, verse, verse_end,"
        " 'Twice.', text_hash FROM verses WHERE verse_id = (SELECT max(verse_id) FROM verses)",
    ),
    "zero_vector": _sql(
        "UPDATE verse_embeddings_s1 SET embedding = array_fill(0::real, '{64}')::halfvec"
        " WHERE verse_id = FIRST + 2"
    ),
    "another_model": _sql(
        "UPDATE verse_embeddings_s1 e SET embedding = o.embedding FROM verse_embeddings_s2 o"
        " WHERE o.verse_id = e.verse_id AND e.verse_id BETWEEN FIRST + 3 AND FIRST + 5"
    ),
    "wrong_dimension": _sql(
        "DROP VIEW verse_embeddings, chunk_embeddings",
        "ALTER TABLE verse_embeddings_s1 ALTER COLUMN embedding TYPE halfvec",
        "UPDATE verse_embeddings_s1 SET embedding = array_fill(0.25::real, '{16}')::halfvec"
        " WHERE verse_id = FIRST + 6",
    ),
    "not_its_text": _sql(
        HIDDEN,
        "UPDATE verse_embeddings_s1 SET embedding = (SELECT embedding FROM verse_embeddings_s1"
        " WHERE verse_id = FIRST + 8) WHERE verse_id = FIRST + 7",
    ),
    "wrong_code": _sql(HIDDEN, "UPDATE verse_codes_c1 SET code = ~code WHERE verse_id = FIRST + 9"),
    "file_without_document": _drop_a_file,
    "released_rows_changed": _sql(
        HIDDEN,
        "UPDATE verse_embeddings_s1 SET embedding ="
        " (array_fill(1.004::real, '{64}')::vector * embedding::vector)::halfvec"
        " WHERE version_code = 'PT_B'",
    ),
    "untrue_partition": show_untrue_partitions,
}
"""The faults that an audit is to find, and how each comes about."""

MORE: dict[str, Cause] = {
    "wrong_text_hash": _sql(
        HIDDEN, "UPDATE verses SET text_hash = sha256('other') WHERE verse_id = FIRST + 11"
    ),
    "text_not_in_source": _sql("UPDATE verses SET text = 'Other.' WHERE verse_id = FIRST + 12"),
    "wrong_norm": _sql(
        HIDDEN,
        "UPDATE verse_embeddings_s1 SET embedding ="
        " (array_fill(0.5::real, '{64}')::vector * embedding::vector)::halfvec"
        " WHERE verse_id = FIRST + 13",
    ),
    "misfiled_vector": _sql(
        HIDDEN, "UPDATE verse_embeddings_s1 SET book = 'REV' WHERE verse_id = FIRST + 14"
    ),
    "disabled_trigger": _sql("ALTER TABLE verses DISABLE TRIGGER hash_text"),
}
"""Further faults, which are tested together with those."""

BESIDE: dict[str, set[str]] = {
    "duplicate_reference": {"lost_constraint"},
    "wrong_dimension": {"lost_type"},
}
"""What the cause of a fault also does."""
BESIDE_REPAIRED: dict[str, set[str]] = {
    "file_without_document": {"documents"},
    "released_rows_changed": {"releases", "release_spaces", "released_rows", "check_results",
                              "release_texts", "text_languages", "text_statistics", "text_terms",
                              "index_decisions", "verse_embeddings_s1", "code_sets", "code_parts",
                              "verse_codes_c1", "chunk_codes_c2", "query_embeddings"},
}  # fmt: skip
"""Tables that a repair changes: a file in the queue, and another release with its evidence."""
OF_RELEASE = {"missing_vector", "stale_text_hash", "zero_vector", "another_model",
              "wrong_dimension", "not_its_text", "orphaned_vector"}  # fmt: skip
"""Faults in the rows of a released version, which are also a change of it."""


@pytest.fixture(scope="module")
def built(
    template_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Audited]:
    """The corpus, made once; each test has a copy."""
    home = tmp_path_factory.mktemp("audited")
    (home / "inbox").mkdir()
    database = template_database.named("audited")
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE audited TEMPLATE {template_database.name}")
    settings = Settings(
        rag_home=home / "rag",
        rag_bibles_dir=home / "bibles",
        rag_documents_url=str(home / "inbox"),
        rag_documents_settle_s=0,
        rag_bible_settle_s=0,
        rag_database_url=database.conninfo,
        rag_embedding_provider="offline",
        rag_embedding_small_dimensions=64,
        rag_embedding_large_dimensions=64,
        rag_embedding_large_model="other",
        rag_code_bits=0,
        rag_golden_queries=None,
        rag_slo_p95_ms=60_000,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield build(database, settings, instance)
    with template_database.named("postgres").connect(autocommit=True) as connection:
        connection.execute("DROP DATABASE audited WITH (FORCE)")


@pytest.fixture
def audited(built: Audited) -> Iterator[Audited]:
    with copied(built, "audited_copy") as copy:
        yield copy
    (Path(built.settings.rag_documents_url) / "four.md").unlink(missing_ok=True)


def test_nothing_is_found_in_a_whole_corpus_and_nothing_changes(audited: Audited) -> None:
    before = audited.digests()
    job = build_defs(resources={"corpus": audited.corpus}).resolve_job_def("audit")
    ran = job.execute_in_process(instance=audited.instance)
    (event,) = ran.get_asset_materialization_events()
    shown = {name: value.value for name, value in event.materialization.metadata.items()}
    assert shown["differences"] == shown["repaired"] == 0
    assert shown["sampled"] > 0
    assert not shown.keys() & {"found", "not_compared"}
    assert audited.changed(before) == set()


@pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=pytest.mark.long) if kind == "released_rows_changed" else kind
    for kind in CAUSES
])  # fmt: skip
def test_each_fault_is_found_and_repaired_and_nothing_else_changes(
    audited: Audited, kind: str
) -> None:
    before, shown = audited.digests(), audited.shown()
    CAUSES[kind](audited)
    faulty = audited.digests()
    # Reading a version's files takes a process, and only these two faults depend on them.
    report = audited.audit(read_versions=kind in BESIDE)
    found = set(audited.kinds(report))
    also = BESIDE.get(kind, set()) | ({"released_rows_changed"} if kind in OF_RELEASE else set())
    assert found == {kind} | also
    assert audited.changed(faulty) <= {"answered_texts_s1"}

    left = audited.repair(report)  # and compares again
    assert [str(one) for one in left.differences] == []
    assert audited.shown() == shown
    expected = BESIDE_REPAIRED.get(kind, set())
    assert audited.changed(before) - expected == set()
    assert set(audited.digests()) ^ set(before) <= expected


def test_a_search_and_a_build_over_rows_of_another_dimension_end_in_a_sentence(
    audited: Audited,
) -> None:
    CAUSES["wrong_dimension"](audited)
    request = SearchRequest(top_k=3)
    with pytest.raises(AuditError, match=r"16 in row \d+.*rag-assets audit --repair"):
        search_text(audited.database, audited.settings, "the river", request)
    table = audited.small_table()
    with pytest.raises(AuditError, match="rag-assets audit --repair"):
        maintain(
            audited.database,
            audited.settings,
            table,
            IndexRequest(force=True, lists=2),
            run_id="build",
            progress=Silent(),
        )


class Releasing(Silent):
    """A repair's progress, and an automatic release that begins in the middle of it."""

    def __init__(self, audited: Audited, home: Path) -> None:
        self._audited = audited
        self._home = home
        self._thread = ThreadPoolExecutor(1)
        self._waits = Event()
        self.run: Future[Run] | None = None

    def say(self, message: str) -> None:
        if "repair is under way" in message:
            self._waits.set()

    def start(self, task: str, total: int) -> None:
        if self.run is None and total and task.startswith("repairing zero_vector"):
            self.run = self._thread.submit(self._release)
            assert self._waits.wait(60)

    def _release(self) -> Run:
        corpus = replace(self._audited.corpus, progress=self)
        with dg.DagsterInstance.local_temp(str(self._home), NO_LOG_CAPTURE) as instance:
            return run_job(Lane(corpus, instance), "corpus_release")


def test_all_faults_together_are_found_and_repaired_and_a_release_waits_for_it(
    audited: Audited, tmp_path: Path
) -> None:
    shown = audited.shown()
    for cause in (*CAUSES.values(), *MORE.values()):
        cause(audited)
    report = audited.audit()
    assert set(audited.kinds(report)) >= set(CAUSES) | set(MORE)
    progress = Releasing(audited, tmp_path)
    left = audited.repair(report, progress)
    assert [str(one) for one in left.differences] == []
    assert audited.shown() == shown
    assert progress.run is not None
    run = progress.run.result(60)
    assert run.success, [
        event.message + str(getattr(event.event_specific_data, "error", ""))
        for event in run.result.all_events
        if event.is_failure
    ]


@pytest.mark.long
def test_a_version_that_was_removed_leaves_the_release(audited: Audited) -> None:
    with audited.database.connect() as connection:
        remove_version(connection, "PT_B")
    report = audited.audit(read_versions=False)
    assert set(audited.kinds(report)) == {"released_rows_changed", "untrue_partition"}
    assert audited.repair(report).differences == ()
    with audited.database.connect() as connection:
        release = active_release(connection)
    assert release is not None
    assert release.versions == ("EN_A",)
