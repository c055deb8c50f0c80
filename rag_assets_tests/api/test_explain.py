"""Each cause of an absence, produced one by one on one corpus, and why a hit is there."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_assets.bible.model import Oddity, OddityKind
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sql.embeddings import record_failures, stale_verses
from rag_assets.bible.sql.oddities import store_oddities
from rag_assets.documents.sql.lanes import pause_lane
from rag_assets.documents.sql.queue import claim, mark_dead, mark_for_retry
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.embedding.batching import Text
from rag_assets.embedding.sql.batches import reserve
from rag_assets.errors import RequestError
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Silent
from rag_assets.retrieval.confinement import Confinement
from rag_assets.retrieval.explain.explain import explain
from rag_assets.retrieval.explain.model import Expected, Explanation
from rag_assets.retrieval.live_recall import served_exactly
from rag_assets.retrieval.plan import Codes
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import Served, served_now
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search
from rag_assets.settings.model import Settings
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.sql import code_sets, code_writing
from rag_assets.vectors.sql.code_sets import CodeUse
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets_tests.api.conftest import CARTA, MANUAL, SMALL, Copy, corpus_settings, verse_text
from rag_assets_tests.api.server import EXPLAIN, Server
from rag_assets_tests.cli.test_help import parse
from rag_assets_tests.conftest import SAMPLES
from rag_assets_tests.corpora import load_version, write_usfm_version
from rag_assets_tests.documents.queued import queue
from rag_assets_tests.release.corpus import embed

FISH = "a great fish swallowed Jonah"
JONAH = "Jonah 1:17"


@pytest.fixture(scope="module")
def explained_database(stocked: Database, copied: Copy) -> Database:
    """The released samples and documents, beside what is not released."""
    database = copied(stocked)
    settings = corpus_settings(database)
    load_version(database, "EN_LATER", ["a great fish swallowed the first verse"])
    embed(database, settings, "EN_LATER")
    load_version(database, "EN_RAW", ["a verse that has no vector"])
    queue(database, "waiting.md", "failed.md")
    return database


@pytest.fixture
def connection(explained_database: Database) -> Iterator[Connection]:
    """In a transaction that is rolled back, so that each test breaks something of its own."""
    with explained_database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        with connection.transaction(force_rollback=True):
            yield connection


@pytest.fixture
def settings(explained_database: Database) -> Settings:
    return corpus_settings(explained_database)


class Asked:
    """Searches of one test."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        self.served: Served | None = None

    def now(self) -> Served:
        """What is served, every list of the index probed: four lists lose some by chance."""
        served = served_now(self.connection, self.settings)
        return replace(served, target=replace(served.target, probes=Probes(4, 4, 4)))

    def explanation(self, query: str, *expect: str, **asked: object) -> Explanation:
        served = self.served or self.now()
        spec = served.target.table.space.spec
        (vector,) = embed_queries(self.settings, spec, [query])
        request = SearchRequest(**({"text": query, "corpus": "both"} | asked))  # type: ignore[arg-type]
        return explain(self.connection, self.settings, served, request, vector, expect=expect)

    def __call__(self, expect: str, query: str = FISH, **asked: object) -> Expected:
        """The one passage that is expected."""
        (found,) = self.explanation(query, expect, **asked).expected
        return found


@pytest.fixture
def ask(connection: Connection, settings: Settings) -> Asked:
    return Asked(connection, settings)


def stopped(found: Expected, stage: str, *words: str, command: str) -> None:
    """It stopped there, for that reason, and the command is one of the command line."""
    assert (found.verdict.stage, found.found) == (stage, False), found
    for word in words:
        assert word in found.verdict.reason
    assert found.verdict.reason.endswith(".")
    assert found.verdict.command == command
    is_a_command(found.verdict.command)


def is_a_command(line: str) -> None:
    program, *words = shlex.split(line)
    assert program == "rag-assets"
    assert parse(words)


def test_what_is_in_the_answer_is_found_in_each_step(ask: Asked) -> None:
    found = ask(f"EN_SAMPLE {JONAH}", hybrid=True)
    assert (found.found, found.verdict.reason) == (True, "It is hit 1.")
    ranks = found.ranks
    assert (ranks.exact, ranks.vector, ranks.text, ranks.fused, ranks.grouped) == (1, 1, 1, 1, 1)
    assert [(one.kind, one.rank, one.used) for one in found.plans] == [
        ("exact", 1, False),
        ("ivfflat", 1, True),
    ]
    assert ask("manual.pdf", MANUAL[1]).reference == "manual.pdf"
    assert ask("manual.pdf", MANUAL[1]).found
    assert ask("manual.pdf#2", MANUAL[1]).found
    assert ask("manual.pdf.md#2", MANUAL[1]).reference == "manual.pdf#2", "by its path"
    for as_listed in (f"{JONAH} EN_SAMPLE", f"{JONAH} (EN_SAMPLE)"):
        assert ask(as_listed).reference == f"EN_SAMPLE {JONAH}"


def test_of_a_verse_in_several_versions_the_one_that_came_furthest_is_first(ask: Asked) -> None:
    first, second = ask.explanation(FISH, JONAH, top_k=1).expected
    assert (first.reference, first.found) == (f"EN_SAMPLE {JONAH}", True)
    assert (second.reference, second.found) == (f"PT_SAMPLE {JONAH}", False)


def test_not_in_the_source(ask: Asked, connection: Connection) -> None:
    store_oddities(
        connection, "EN_SAMPLE", [Oddity(OddityKind.BLANK, "JON 4:12", "no text")], run_id="load"
    )
    oddities = "rag-assets bible oddities EN_SAMPLE --book JON"
    stopped(ask("EN_SAMPLE JON 4:12"), "not_in_source", "blank (no text)", command=oddities)
    stopped(ask("EN_NONE JON 1:1"), "not_in_source", command="rag-assets bible add EN_NONE FILE")
    stopped(ask("JON 9:9"), "not_in_source", command="rag-assets bible list")
    stopped(ask("manuel.pdf"), "not_in_source", "manual.pdf", command="rag-assets documents list")
    stopped(ask("manual.pdf#9"), "not_in_source", "3 passages",
            command="rag-assets documents show manual.pdf")  # fmt: skip
    withdraw(connection, ["manual.pdf"], by="inbox")
    stopped(ask("manual.pdf"), "not_in_source", command="rag-assets documents add manual.pdf.md")


def test_refused_by_policy(ask: Asked, connection: Connection) -> None:
    ask.settings = ask.settings.model_copy(update={"rag_allowed_versions": "PT_SAMPLE"})
    stopped(
        ask(f"EN_SAMPLE {JONAH}"), "refused_by_policy", "RAG_ALLOWED_VERSIONS",
        command="rag-assets release gate",
    )  # fmt: skip
    connection.execute(
        "UPDATE bible_versions SET enabled_for_rag = false WHERE version_code = 'EN_SAMPLE'"
    )
    stopped(
        ask(f"EN_SAMPLE {JONAH}"), "refused_by_policy", "enabled_for_rag",
        command="rag-assets bible embed EN_SAMPLE",
    )  # fmt: skip
    withdraw(connection, ["manual.pdf"], by="command")
    stopped(
        ask("manual.pdf"), "refused_by_policy", command="rag-assets documents add manual.pdf.md"
    )


def test_not_embedded(ask: Asked, connection: Connection, settings: Settings) -> None:
    raw, embedded = "EN_RAW GEN 1:1", "rag-assets bible embed EN_RAW"
    stopped(ask(raw), "not_embedded", "pending", command=embedded)
    pause_lane(connection, "rag_bible", "the provider is down", "recovery")
    stopped(
        ask(raw), "not_embedded", "paused", "the provider is down",
        command="rag-assets documents resume rag_bible",
    )  # fmt: skip
    space = served_now(connection, settings).target.table.space
    (verse,) = stale_verses(connection, space, "EN_RAW")
    refusals = {verse.text_hash: ("InputRejectedError", "content filter")}
    record_failures(connection, space, [verse], refusals, run_id="run")
    stopped(ask(raw), "not_embedded", "content filter", command=embedded)
    connection.execute("DELETE FROM embedding_failures")
    batch = (Text(verse.text_hash, verse.text),)
    number = reserve(connection, space, "EN_RAW", [batch], run_id="run", attempt=1)
    stopped(ask(raw), "not_embedded", f"batch {number}", command="rag-assets batches list")
    stopped(
        ask("waiting.md"), "not_embedded", "pending",
        command="rag-assets documents show waiting.md",
    )  # fmt: skip
    (claimed,) = claim(
        connection, run_id="run", lane=None, limit=1, max_bytes=2**30, lease_s=60, max_running=9,
        max_attempts=5, keys=["failed.md"],
    )  # fmt: skip
    stopped(ask("failed.md"), "not_embedded", "Run run",
            command="rag-assets documents show failed.md")  # fmt: skip
    mark_for_retry(connection, claimed.document_id, "run", "TimeoutError", "too slow", 9)
    stopped(ask("failed.md"), "not_embedded", "too slow",
            command="rag-assets documents show failed.md")  # fmt: skip
    pause_lane(connection, "rag_processing", "", "command")
    stopped(ask("failed.md"), "not_embedded", "paused by command",
            command="rag-assets documents resume rag_processing")  # fmt: skip
    connection.execute(
        "UPDATE documents SET state = 'running', run_id = 'run', lease_until = now()"
        " WHERE document_key = 'failed.md'"
    )
    mark_dead(connection, claimed.document_id, "run", "CorruptDocumentError", "it is cut off")
    stopped(
        ask("failed.md"), "not_embedded", "dead letter", "it is cut off",
        command="rag-assets documents retry failed.md",
    )  # fmt: skip


def test_stale(ask: Asked, connection: Connection) -> None:
    connection.execute(
        "UPDATE verses SET text = 'Another text' WHERE version_code = 'EN_SAMPLE'"
        " AND (book, chapter, verse) = ('JON', 3, 1)"
    )
    found = ask("EN_SAMPLE JON 3:1", top_k=1)
    stopped(found, "stale", "another text", command="rag-assets bible embed EN_SAMPLE")
    assert found.ranks.exact is not None
    connection.execute("UPDATE documents SET content_hash = 'new', state = 'waiting'")
    stopped(
        ask("manual.pdf", top_k=1), "stale", "file changed",
        command="rag-assets documents show manual.pdf",
    )  # fmt: skip


def test_stale_files(ask: Asked, tmp_path: Path) -> None:
    for code in ("EN_RAW", "EN_SAMPLE", "EN_FOLDER"):
        write_usfm_version(tmp_path, code, ["a verse that has no vector", "a new one"])
    ask.settings = ask.settings.model_copy(update={"rag_bibles_dir": tmp_path})
    stopped(ask("EN_RAW GEN 1:2"), "stale", "01-GEN.usfm, line 7",
            command="rag-assets bible embed EN_RAW")  # fmt: skip
    stopped(ask("EN_SAMPLE JON 3:1", top_k=1), "stale", "changed after it was loaded",
            command="rag-assets bible embed EN_SAMPLE")  # fmt: skip
    stopped(ask("EN_FOLDER GEN 1:2"), "not_embedded", "has a folder",
            command="rag-assets bible embed EN_FOLDER")  # fmt: skip
    shutil.rmtree(tmp_path / "EN_SAMPLE")
    shutil.copytree(SAMPLES / "EN_SAMPLE", tmp_path / "EN_SAMPLE")
    (tmp_path / "EN_SAMPLE" / "33-MIC.usfm").write_text("\\id MIC\n\\c 1\n\\v 1 A new one.\n")
    stopped(ask("EN_SAMPLE JON 3:1", top_k=1), "beyond_candidates", "")
    assert ask(f"EN_SAMPLE {JONAH}").found, "what is in the answer is found"


def test_a_file_that_was_not_scanned(ask: Asked, tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "new.md").write_text("# New")
    (tmp_path / "outside.md").write_text("# Outside")
    update = {"rag_documents_url": str(tmp_path / "inbox")}
    ask.settings = ask.settings.model_copy(update=update)
    stopped(ask("new.md"), "not_embedded", "no scan", command="rag-assets documents scan")
    (tmp_path / "inbox" / "manual.pdf.md").write_text("# Another manual")
    stopped(ask("manual.pdf", top_k=1), "stale", "no scan", command="rag-assets documents scan")
    assert ask("../outside.md").verdict.stage == "not_in_source"


def test_not_in_the_release(ask: Asked, connection: Connection) -> None:
    stopped(ask("EN_LATER GEN 1:1"), "not_in_release", "release 2",
            command="rag-assets release gate")  # fmt: skip
    ask.served = replace(ask.now(), documents=None)
    stopped(ask("manual.pdf", corpus="bible"), "not_in_release", "no documents",
            command="rag-assets release gate")  # fmt: skip


def test_outside_the_filter(ask: Asked) -> None:
    command = f"rag-assets search '{FISH}'"
    asked = {"versions": ("PT_SAMPLE",), "books": ("JON",), "corpus": "bible"}
    stopped(ask(f"EN_SAMPLE {JONAH}", **asked), "outside_filter", command=command)
    stopped(ask("manual.pdf", language="pt"), "outside_filter", command=command)
    stopped(ask("manual.pdf", **asked), "outside_filter", command=command)


def a_miss(ask: Asked, kind: str) -> tuple[str, Expected]:
    """A query, and one of its ten nearest verses, which this plan does not find."""
    assert ask.served is not None
    verses = read_bible(SAMPLES / "EN_SAMPLE").verses
    spec = ask.served.target.table.space.spec
    vectors = embed_queries(ask.settings, spec, [verse.text for verse in verses])
    request = SearchRequest()
    for verse, vector in zip(verses, vectors, strict=True):
        exact, found = (
            search(ask.connection, ask.settings, served, request, vector).hits
            for served in (served_exactly(ask.served), ask.served)
        )
        known = {(hit.version, hit.usfm) for hit in found}
        for hit in exact:
            if (hit.version, hit.usfm) not in known:
                missed = ask(f"{hit.version} {hit.usfm}", verse.text, corpus="bible")
                assert [plan.kind for plan in missed.plans] == ["exact", kind]
                return verse.text, missed
    raise AssertionError("every search found everything")


def test_in_a_list_that_was_not_probed(ask: Asked) -> None:
    served = ask.now()
    ask.served = replace(served, target=replace(served.target, probes=Probes(1, 1, 1)))
    query, found = a_miss(ask, "ivfflat")
    stopped(found, "not_probed", "1 of 4 lists", command="rag-assets index build")
    assert (found.ranks.vector, found.plans[-1].rank) == (None, None)
    ask.served = served
    assert ask(found.passage, query, corpus="bible").found


def test_beyond_the_candidates(ask: Asked) -> None:
    found = ask("EN_SAMPLE JON 2:1", top_k=2, corpus="bible")
    rank = found.ranks.exact
    assert rank is not None
    stopped(
        found, "beyond_candidates", f"Exact search ranks it {rank},", "nearest 2",
        command=f"rag-assets search '{FISH}' --top-k 2 --corpus bible --hybrid",
    )  # fmt: skip
    assert ask("EN_SAMPLE JON 2:1", top_k=2, corpus="bible", hybrid=True, text_weight=1).found
    wordless = "and the people sailed home"
    near, far = (
        next(one for one in ask.explanation(wordless, *every_verse(), top_k=2).expected
             if one.ranks.text is None and one.ranks.exact in ranks)
        for ranks in (range(3, 101), range(101, 600))
    )  # fmt: skip
    command = f"rag-assets search '{wordless}' --top-k"
    stopped(near, "beyond_candidates", command=f"{command} {near.ranks.exact}")
    version, book, *_ = far.passage.split()
    stopped(far, "beyond_candidates",
            command=f"{command} 100 --version {version} --book {book}")  # fmt: skip
    strict = {"top_k": 2, "corpus": "bible", "min_score": 0.9}
    assert "--min-score" not in ask("EN_SAMPLE JON 2:1", **strict).verdict.command


def every_verse() -> list[str]:
    return [
        f"EN_SAMPLE {verse.book} {verse.chapter}:{verse.verse}"
        for verse in read_bible(SAMPLES / "EN_SAMPLE").verses
    ]


def test_beyond_the_candidates_by_code(ask: Asked, connection: Connection) -> None:
    served = ask.now()
    table = served.target.table
    made = code_sets.create(connection, table, Recipe(SMALL, 64), measured={}, run_id="run")
    code_writing.fill(connection, table, made, progress=Silent())
    codes = Codes(made, CodeUse(made.number, 1, 1, 1, 10**9))
    ask.served = replace(
        served, target=replace(served.target, generation=None, probes=None, codes=codes)
    )
    _, found = a_miss(ask, "codes")
    stopped(
        found, "beyond_candidates", "by code", "nearest 50", f"ranks it {found.ranks.exact}",
        command="rag-assets index build",
    )  # fmt: skip


def test_under_min_score(ask: Asked) -> None:
    found = ask("EN_SAMPLE JON 2:10", min_score=0.99)
    assert found.score is not None
    stopped(found, "under_min_score", f"{found.score:.3f}", "0.99",
            command=f"rag-assets search '{FISH}'")  # fmt: skip


def test_below_the_last_hit(ask: Asked) -> None:
    found = ask("EN_SAMPLE JON 2:1", top_k=1, hybrid=True)
    rank = found.ranks.grouped
    stopped(found, "beyond_top_k", f"candidate {rank}", "1 hit.",
            command=f"rag-assets search '{FISH}' --top-k {rank} --hybrid")  # fmt: skip


def test_excluded_by_words(ask: Asked) -> None:
    query = f"{FISH} -swallow"
    found = ask(f"EN_SAMPLE {JONAH}", query, hybrid=True)
    stopped(found, "excluded_by_words", command=f"rag-assets search '{query}'")


def test_grouped_under_another_hit(ask: Asked) -> None:
    query = f"{verse_text('EN_SAMPLE', 'JON', 1, 17)} {verse_text('PT_SAMPLE', 'JON', 1, 17)}"
    first, second = ask.explanation(query, JONAH, collapse=True).expected
    assert first.found
    stopped(second, "grouped", f"hit 1, {first.reference}",
            command=shlex.join(["rag-assets", "search", query]))  # fmt: skip
    found = ask("carta.md#2", CARTA[0], collapse=True)
    stopped(found, "grouped", "carta.md#1", command=f"rag-assets search '{CARTA[0]}'")
    assert ask("carta.md", CARTA[0], collapse=True).found


@pytest.mark.parametrize(
    ("may", "hidden", "seen"),
    [
        (Confinement(languages=("pt",)), ("EN_SAMPLE JON 1:1", "EN_NONE JON 1:1", "manual.pdf",
          "none.pdf", "waiting.md", "manual.pdf#9"),
         ("PT_SAMPLE JON 9:9", "JON 1:1", "carta.md#9")),
        (Confinement(versions=("PT_*",)), ("EN_RAW GEN 1:1", "EN_NONE GEN 1:1", "carta.md",
          "none.pdf"), ("PT_SAMPLE JON 9:9", "JON 9:9")),
        (Confinement(corpora=("documents",)), ("JON 1:1", "JON 9:9", "EN_SAMPLE JON 1:1",
          "none.pdf"), ("manual.pdf#9",)),
        (Confinement(corpora=("bible", "others")), ("manual.pdf", "manual.pdf.md", "none.pdf"), ()),
    ],
)  # fmt: skip
def test_outside_the_scope_of_the_key(
    ask: Asked, may: Confinement, hidden: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    explained = ask.explanation(FISH, *hidden, confinement=may).expected
    assert len(explained) == len(hidden)
    for asked, one in zip(hidden, explained, strict=True):
        assert replace(one, passage="", reference="") == replace(
            explained[0], passage="", reference="", corpus=one.corpus
        )
        assert one.reference == one.passage == asked
        stopped(one, "outside_key_scope", command="rag-assets keys list")
        assert (one.score, one.plans, one.ranks.exact) == (None, (), None)
    for asked in seen:
        assert ask(asked, confinement=may).verdict.stage != "outside_key_scope", asked


def test_an_expectation_that_cannot_be_read_is_refused(ask: Asked) -> None:
    for expect, kind in (
        ("Jonnah 1:17", "unknown-book"),
        ("EN_SAMPLE Jonah", "bad-reference"),
        (" ", "bad-reference"),
        ("Jonah 1", "not-one-verse"),
        ("Jonah 1:1-3", "not-one-verse"),
    ):
        with pytest.raises(RequestError) as refused:
            ask(expect)
        assert (refused.value.kind, refused.value.field) == (kind, "expect")


def test_a_hit_is_explained(server: Server) -> None:
    asked = {"query": FISH, "top_k": 3, "hybrid": True}
    answer = server.http.post(EXPLAIN, json=asked)
    assert answer.status_code == 200, answer.text
    hits = answer.json()["hits"]
    assert [{k: v for k, v in hit.items() if k != "why"} for hit in hits] == server.found(**asked)[
        "hits"
    ]
    for rank, (hit, why) in enumerate(((hit, hit["why"]) for hit in hits), start=1):
        ranks = why["ranks"]
        assert (ranks["fused"], ranks["grouped"]) == (rank, rank)
        assert (ranks["vector"] is None) == (hit["source"] == "text")
        assert (ranks["text"] is None) == (hit["source"] == "vector")
        assert (why["release"], why["run_id"], len(why["text_hash"])) == (1, "embed", 64)
        assert why["model"] == "offline/lexical-char-ngrams-v1"
    assert hits[0]["why"]["ranks"]["exact"] == 1


def test_the_source_of_a_hit_is_a_line_or_a_page(ask: Asked) -> None:
    ask.settings = ask.settings.model_copy(update={"rag_bibles_dir": SAMPLES})
    first = ask.explanation(FISH).hits[0]
    assert first.hit.reference == JONAH
    line = (SAMPLES / first.why.source).read_text("utf-8").splitlines()[first.why.line - 1]
    assert first.why.source == "EN_SAMPLE/32-JON.usfm"
    assert line.startswith("\\v 17 ")
    assert (first.why.generation, first.why.cost_usd) == (1, 0.0)
    passage = ask.explanation(MANUAL[1], corpus="documents").hits[0].why
    assert (passage.source, passage.page, passage.line) == ("manual.pdf.md", 2, None)
