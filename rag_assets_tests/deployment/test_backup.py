"""A backup by pg_dump, restored elsewhere: the release serves, and the index can be built anew.

And one corpus put back alone, while the other one goes on unharmed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from psycopg import sql

from rag_assets.errors import ConfigurationError, DatabaseUnavailableError, GateRefusedError
from rag_assets.operations.sql.corpus_restore import restore_corpus
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, one
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets.settings.instructions import PRESETS
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql import code_sets
from rag_assets.vectors.sql.indexes import live_indexes
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.vectors.sql.tables import Corpus
from rag_assets_tests.api.conftest import Copy, bilingual, copied, corpus_settings  # noqa: F401
from rag_assets_tests.api.server import command, environment_of
from rag_assets_tests.corpora import sentences
from rag_assets_tests.deployment.servers import Cluster, folder_of_servers
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import (
    active_number,
    check,
    embed,
    index,
    release_corpus,
    table_of,
)
from rag_assets_tests.searches import ask

pytestmark = pytest.mark.long


def program(name: str, database: Database, *arguments: str, **environment: str) -> None:
    """One of PostgreSQL's programs, on one database."""
    parts = database.parameters()
    subprocess.run(
        [str(embedded.binary(name)), *arguments],
        env={
            **os.environ,
            "PGHOST": parts["host"],
            "PGPORT": parts.get("port", "5432"),
            "PGUSER": parts["user"],
            "PGDATABASE": parts["dbname"],
            **environment,
        },
        check=True,
        capture_output=True,
        text=True,
    )


def _same(one: Sequence[Hit], other: Sequence[Hit]) -> set[tuple[str, str]]:
    """Verses that both found."""
    first, second = ({(hit.version, hit.usfm) for hit in hits} for hits in (one, other))
    return first & second


def test_a_restored_backup_serves_as_before_and_its_index_can_be_built_anew(
    bilingual: Database,  # noqa: F811
    copied: Copy,  # noqa: F811
    tmp_path: Path,
) -> None:
    before = copied(bilingual)
    settings = corpus_settings(before)
    table = table_of(before, settings)
    query = "a great fish swallowed a man"
    hits = ask(before, settings, query).hits
    file = str(tmp_path / "corpus.dump")
    program("pg_dump", before, "--format=custom", f"--file={file}")

    after = before.named(f"{before.name}_restored")
    with before.connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {after.name}")
    try:
        program(
            "pg_restore",
            after,
            f"--dbname={after.name}",
            "--exit-on-error",
            file,
            PGOPTIONS="-c maintenance_work_mem=2GB",
        )
        restored = corpus_settings(after)
        # The index is built anew, with other lists than those that were measured.
        assert len(_same(ask(after, restored, query).hits, hits)) >= 6
        with after.connect() as connection:
            (living,) = live_indexes(connection, table)
        assert living.valid
        assert living.generation is not None

        outcome = index(after, restored, force=True)
        assert outcome.generation is not None
        assert outcome.generation.number > living.generation
        check(after, restored)
        release_corpus(after, restored)
        assert len(_same(ask(after, restored, query).hits, hits)) >= 6
    finally:
        with before.connect(autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {after.name} WITH (FORCE)")


def test_codes_their_index_and_the_release_are_there_after_a_restore_into_an_empty_server(
    bilingual: Database,  # noqa: F811
    copied: Copy,  # noqa: F811
    tmp_path: Path,
) -> None:
    before = copied(bilingual)
    settings = corpus_settings(before, rag_code_bits=None)
    made = index(before, settings, force=True).generation
    assert made is not None
    assert made.codes is not None
    check(before, settings)
    release_corpus(before, settings)
    query = "a great fish swallowed a man"
    answer = ask(before, settings, query)
    assert answer.plan.candidates
    file = str(tmp_path / "corpus.dump")
    program("pg_dump", before, "--format=custom", f"--file={file}")

    with folder_of_servers() as folder:
        server = Cluster(folder)
        server.make()
        server.start()
        with server.database().connect(autocommit=True) as connection:
            connection.execute("CREATE DATABASE restored")
        after = server.database("restored")
        program("pg_restore", after, f"--dbname={after.name}", "--exit-on-error", file,
                PGOPTIONS="-c maintenance_work_mem=2GB")  # fmt: skip
        restored = corpus_settings(after, rag_code_bits=None)
        again = ask(after, restored, query)
        assert (again.release_id, str(again.plan)) == (answer.release_id, str(answer.plan))
        assert len(_same(again.hits, answer.hits)) >= 9
        with after.connect() as connection:
            table = table_of(after, restored)
            (code_set,) = code_sets.code_sets(connection, table)
            assert code_sets.count_uncoded(connection, table, code_set) == 0
        embed(after, restored, "EN_NEWER", sentences(30, word="brook"))
        with after.connect() as connection:
            assert code_sets.count_uncoded(connection, table, code_set) == 0


PAGE = Path(__file__).parents[2] / "docs/deployment.md"
MINE: dict[Corpus, tuple[str, ...]] = {
    "bible": ("bible_versions", "verses", "verse_embeddings_s1", "verse_embeddings_s2"),
    "documents": (
        "document_corpora",
        "documents",
        "document_chunks",
        "chunk_embeddings_s1",
        "chunk_embeddings_s2",
    ),
}
NEWER = sentences(30, word="brook")
OTHER: dict[Corpus, Corpus] = {"bible": "documents", "documents": "bible"}


@pytest.fixture(scope="module")
def both(bilingual: Database, copied: Copy) -> Database:  # noqa: F811
    """The samples and three documents, released together. Copied, never connected to."""
    database = copied(bilingual)
    settings = corpus_settings(database)
    for key, word in (("manual.pdf", "pump"), ("letter.md", "valve"), ("notes.txt", "engine")):
        publish_document(database, settings, key, sentences(40, word=word))
    judge_all(database, settings)
    release_corpus(database, settings)
    return database


@pytest.fixture
def database(both: Database, copied: Copy) -> Database:  # noqa: F811
    return copied(both)


def documented(corpus: Corpus) -> list[str]:
    """The options of the page's pg_dump for a corpus, without file and address."""
    text = PAGE.read_text("utf-8").replace("\\\n", " ")
    (line,) = re.findall(rf"^pg_dump .*{corpus}\.dump.*$", text, re.MULTILINE)
    return [word for word in shlex.split(line)[1:] if word.startswith(("--table", "--format"))]


def dump(database: Database, file: Path, *options: str) -> Path:
    program("pg_dump", database, *(options or ("--format=custom",)), f"--file={file}")
    return file


def content(database: Database, corpus: Corpus) -> dict[str, list[str]]:
    """All rows of a corpus, as texts."""
    found = {}
    with database.connect() as connection:
        for table in MINE[corpus]:
            name = sql.Identifier(table)
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(name)).fetchall()
            found[table] = sorted(row[0] for row in rows)
    return found


def damage(database: Database, settings: Settings, corpus: Corpus) -> None:
    """What one restores for: much is gone, something else came, something is wrong."""
    with database.connect() as connection:
        if corpus == "bible":
            connection.execute("DELETE FROM verses WHERE version_code = 'EN_SAMPLE'")
            connection.execute("DELETE FROM bible_versions WHERE version_code = 'EN_SAMPLE'")
            connection.execute("UPDATE verses SET text = 'wrong' WHERE chapter = 1")
        else:
            connection.execute("DELETE FROM documents WHERE document_key = 'manual.pdf'")
            connection.execute("UPDATE document_chunks SET text = 'wrong' WHERE position = 1")
    if corpus == "bible":
        embed(database, settings, "EN_NEWER", NEWER, roles=("small", "large"))
    else:
        publish_document(database, settings, "newer.md", NEWER)


def search(database: Database, settings: Settings, query: str, corpus: Corpus) -> list[str]:
    """Texts of the nearest passages of one corpus."""
    request = SearchRequest(top_k=5, corpus=corpus)
    return [hit.text for hit in search_text(database, settings, query, request).hits]


@pytest.mark.parametrize("whole", [True, False], ids=["from-all", "from-its-own"])
@pytest.mark.parametrize("corpus", ["bible", "documents"])
def test_one_corpus_comes_back_and_the_other_is_unharmed(
    database: Database, tmp_path: Path, corpus: Corpus, whole: bool
) -> None:
    settings = corpus_settings(database)
    query = "a great fish swallowed a man" if corpus == "bible" else "the valve number 7"
    before, found = content(database, corpus), search(database, settings, query, corpus)
    file = dump(database, tmp_path / "the.dump", *([] if whole else documented(corpus)))
    damage(database, settings, corpus)
    other = content(database, OTHER[corpus])
    serving, revision = active_number(database), _revision(database, corpus)
    assert content(database, corpus) != before

    restored = restore_corpus(database, corpus, file)

    assert content(database, corpus) == before
    assert content(database, OTHER[corpus]) == other
    assert {name: len(rows) for name, rows in before.items()} == restored.rows
    assert active_number(database) == serving
    assert search(database, settings, query, corpus) == found
    assert _revision(database, corpus) > revision
    with pytest.raises(GateRefusedError):  # the evidence is of other vectors
        release_corpus(database, settings)

    # What came after the dump costs nothing when it comes again, and gets a number of its own.
    with database.connect() as connection:
        paid = one(connection.execute("SELECT sum(inputs) FROM embedding_ledger"))
    if corpus == "bible":
        embed(database, settings, "EN_NEWER", NEWER, roles=("small", "large"))
        check(database, settings, "EN_NEWER", "EN_SAMPLE", "PT_SAMPLE")
    else:
        publish_document(database, settings, "newer.md", NEWER)
    index(database, settings, force=True)
    judge_all(database, settings, force=True)
    release_corpus(database, settings)
    assert active_number(database) != serving
    assert alike(search(database, settings, query, corpus), found)
    with database.connect() as connection:
        assert one(connection.execute("SELECT sum(inputs) FROM embedding_ledger")) == paid


def test_a_restored_corpus_has_the_marks_of_its_dump(database: Database, tmp_path: Path) -> None:
    """Neither does a restore mark what was right, nor does it clear what was not."""
    with database.connect() as connection:
        connection.execute("UPDATE verse_embeddings_s1 SET book = book WHERE chapter = 2")
    marked = "SELECT count(*), min(chapter), max(chapter) FROM verse_embeddings_s1 WHERE unverified"
    with database.connect() as connection:
        before = one(connection.execute(marked))
    assert before[1:] == (2, 2)
    file = dump(database, tmp_path / "the.dump")
    with database.connect() as connection:
        connection.execute("UPDATE verse_embeddings_s1 SET book = book")
    restore_corpus(database, "bible", file)
    with database.connect() as connection:
        assert one(connection.execute(marked)) == before


def alike(one: Sequence[str], other: Sequence[str]) -> bool:
    """As two indexes with lists of their own find it, of which a query reads three in four."""
    return len({*one} & {*other}) >= 3


def _revision(database: Database, corpus: Corpus) -> int:
    with database.connect() as connection:
        (found,) = one(
            connection.execute(
                "SELECT sum(revision) FROM scope_revisions WHERE corpus = %s", (corpus,)
            )
        )
    return int(found)


@pytest.mark.parametrize("corpus", ["bible", "documents"])
def test_it_comes_into_another_database_whose_spaces_have_other_numbers(
    database: Database,
    template_database: Database,
    copied: Copy,  # noqa: F811
    tmp_path: Path,
    corpus: Corpus,
) -> None:
    settings = corpus_settings(database)
    instructed = PRESETS["e5-instruct"].stored()
    with database.connect() as connection:
        connection.execute(
            "SELECT create_embedding_space('openai', 'e5-instruct', 8, 'vector', %s)", (instructed,)
        )
    file = dump(database, tmp_path / "the.dump")
    elsewhere = copied(template_database)
    there = corpus_settings(elsewhere)
    with elsewhere.connect() as connection:
        connection.execute("SELECT create_embedding_space('openai', 'another', 8, 'vector')")
    restored = restore_corpus(elsewhere, corpus, file)
    assert {name[-3:] for name in restored.rows if "embeddings" in name} == {*("_s2", "_s3", "_s4")}
    with elsewhere.connect() as connection:
        assert space_by_id(connection, 4, "small").spec.instructions == instructed
    if corpus == "bible":
        check(elsewhere, there, "EN_SAMPLE", "PT_SAMPLE")
        index(elsewhere, there)
    else:
        judge_all(elsewhere, there)
    release_corpus(elsewhere, there)
    query = "a great fish swallowed a man" if corpus == "bible" else "the valve number 7"
    assert alike(search(elsewhere, there, query, corpus), search(database, settings, query, corpus))


def test_searches_go_on_meanwhile_and_runs_at_work_are_not_run_over(
    database: Database, tmp_path: Path
) -> None:
    settings = corpus_settings(database)
    file = dump(database, tmp_path / "the.dump")
    before = content(database, "bible")
    with database.connect() as run:
        run.execute("UPDATE verses SET text = text WHERE chapter = 1")
        with pytest.raises(DatabaseUnavailableError, match="runs are using the corpus bible"):
            restore_corpus(database, "bible", file, wait_s=0.3)
    assert content(database, "bible") == before

    answers: list[list[str]] = []
    ended = threading.Event()

    def ask_all_the_time() -> None:
        while not ended.is_set():
            answers.append(search(database, settings, "a great fish", "bible"))

    thread = threading.Thread(target=ask_all_the_time)
    thread.start()
    restore_corpus(database, "bible", file)
    ended.set()
    thread.join()
    assert answers
    assert all(answer == answers[0] for answer in answers)


@pytest.fixture
def broken(database: Database, tmp_path: Path) -> Path:
    """A dump that lacks its last third."""
    file = dump(database, tmp_path / "whole.dump", "--format=custom", "--compress=0")
    cut = tmp_path / "cut.dump"
    cut.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    return cut


def test_what_cannot_be_restored_is_told_and_changes_nothing(
    database: Database, broken: Path, tmp_path: Path
) -> None:
    before = content(database, "bible"), content(database, "documents")
    plain = dump(database, tmp_path / "plain.sql", "--format=plain")
    half = dump(database, tmp_path / "half.dump", *documented("documents"))
    with database.connect() as connection:
        connection.execute("INSERT INTO schema_migrations VALUES ('0999_other.sql', 'x')")
    whole = dump(database, tmp_path / "other.dump")
    with database.connect() as connection:
        connection.execute("DELETE FROM schema_migrations WHERE name = '0999_other.sql'")
    for file, told in (
        (broken, "cut off or damaged|contains no table"),
        (plain, "dump with pg_dump --format=custom"),
        (half, "contains no table bible_versions"),
        (whole, r"differ by the migrations 0999_other\.sql"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            restore_corpus(database, "bible", file)
    assert (content(database, "bible"), content(database, "documents")) == before


def test_the_command_asks_before_it_replaces_and_says_what_is_next(
    database: Database, tmp_path: Path
) -> None:
    file = dump(database, tmp_path / "the.dump")
    words = command("db", "restore", "documents", str(file))

    def run(*more: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*words, *more],
            input=answer,
            env=environment_of(database, RAG_HOME=tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert run(answer="n\n").returncode == 1
    done = run("--yes")
    assert done.returncode == 0, done.stderr
    assert "rag-assets index build --force" in done.stdout
    words[-2] = "psalms"
    wrong = run("--yes")
    assert wrong.returncode == 1
    assert "there is no corpus psalms: use bible or documents" in wrong.stderr
