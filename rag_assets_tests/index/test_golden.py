"""Golden queries: the expected verses are found, exactly and through the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.errors import ConfigurationError
from rag_assets.index.asking import class_results
from rag_assets.index.checks import IndexVerdict, judge_index
from rag_assets.index.golden import golden_texts
from rag_assets.index.measuring import target_of
from rag_assets.index.query_classes import (
    ClassResult,
    QueryClass,
    judge_golden,
    judge_sampled,
)
from rag_assets.index.questions import ask, held_out_queries
from rag_assets.index.text_queries import EmbeddedTexts, TextQuery
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.retrieval.golden_file import GoldenQuery, read_golden_queries
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.search_plan import EXACT, SearchPlan
from rag_assets.vectors.sql.check_results import check_results
from rag_assets.vectors.sql.indexes import Probes
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import VectorTable, bible_table
from rag_assets_tests.conftest import SAMPLES, MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.index.corpus import (
    filled_table,
    index_settings,
    maintained,
    on_trial,
    republish,
)
from rag_assets_tests.vectors.vectors import space_of

QUERY = '[[query]]\nlanguage = "en"\ntext = "the river runs"\nexpected = ["GEN 1:1"]\n'
TEXTS = sentences(1100)


def write(folder: Path, content: str) -> Path:
    path = folder / "golden.toml"
    path.write_text(content, encoding="utf-8")
    return path


def test_the_samples_are_golden_queries_in_both_languages() -> None:
    queries = read_golden_queries(SAMPLES.parent / "golden_queries.toml")
    assert {query.language for query in queries} == {"en", "pt-BR"}
    assert queries[0] == GoldenQuery("en", "where you go I will go", ("RUT 1:16",))


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    second = '[[query]]\nlanguage = "pt-BR"\ntext = "rio"\nexpected = ["1JN 5:7", "PSA 119:1"]\n'
    assert read_golden_queries(write(tmp_path, QUERY + second)) == (
        GoldenQuery("en", "the river runs", ("GEN 1:1",)),
        GoldenQuery("pt-BR", "rio", ("1JN 5:7", "PSA 119:1")),
    )


def test_a_query_may_name_documents_do_without_a_language_and_say_what_must_not_come_first(
    tmp_path: Path,
) -> None:
    text = '[[query]]\ntext = "rio"\nexpected = ["a b.pdf", "GEN 1:1"]\nnot_first = ["JHN 6:2"]\n'
    (query,) = read_golden_queries(write(tmp_path, text))
    assert query == GoldenQuery(None, "rio", ("a b.pdf", "GEN 1:1"), ("JHN 6:2",))
    assert (query.verses, query.documents) == ((("GEN", 1, 1),), ("a b.pdf",))
    negative = tmp_path / "negative.jsonl"
    negative.write_text('{"text": "rio", "not_first": ["old.pdf"]}\n', encoding="utf-8")
    assert read_golden_queries(negative) == (GoldenQuery(None, "rio", (), ("old.pdf",)),)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no [[query]]"),
        ("query = []", "holds no [[query]]"),
        ("query = 3", "holds no [[query]]"),
        ("[query]\ntext = 'a'", "holds no [[query]]"),
        ("[[query]", "is not TOML"),
        ('query = ["where you go"]', "query 1"),
        ("[[query]]\ntext = 'a'\nlanguage = 3\nexpected = ['GEN 1:1']", "query 1: language is not"),
        (QUERY + "[[query]]\nlanguage = 'en'\ntext = ' '", "query 2 has no text"),
        ("[[query]]\nlanguage = 'en'\ntext = 3\nexpected = ['GEN 1:1']", "query 1 has no text"),
        (QUERY.replace('["GEN 1:1"]', "[]"), "('the river runs') expects nothing"),
        (QUERY.replace('["GEN 1:1"]', '"GEN 1:1"'), "expected is not a list"),
        (QUERY.replace("expected", "expcted"), "query 1 has expcted"),
        (QUERY + 'not_first = ["GEN 1:1"]', "both expects 'GEN 1:1' and forbids it"),
        (
            QUERY.replace("GEN 1:1", "Genesis 1:1"),
            "expected has 'Genesis 1:1': write a verse as RUT 1:16",
        ),
        (QUERY.replace("GEN 1:1", "GEN 1"), "expected has 'GEN 1'"),
        (QUERY.replace("GEN 1:1", "XYZ 1:1"), "expected has 'XYZ 1:1'"),
        (QUERY.replace("GEN 1:1", "gen 1:1"), "expected has 'gen 1:1'"),
        (QUERY.replace('"GEN 1:1"', "11"), "expected has 11"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name_and_what_is_wrong(
    tmp_path: Path, content: str, said: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as caught:
        read_golden_queries(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "golden.toml"
    path.write_bytes(QUERY.replace("river", "rió").encode("latin-1"))
    with pytest.raises(ConfigurationError, match="is not TOML"):
        read_golden_queries(path)


def test_a_missing_file_says_how_to_do_without(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not there") as caught:
        read_golden_queries(tmp_path / "golden.toml")
    assert "RAG_GOLDEN_QUERIES, if it names this one, may be none" in str(caught.value)


def test_a_folder_instead_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        read_golden_queries(tmp_path)


@pytest.fixture
def offline(database: Database, make_settings: MakeSettings) -> VectorTable:
    """Sentences with the offline embedder's own vectors; an index of one list loses none."""
    settings = index_settings(make_settings, rag_embedding_small_dimensions=512)
    space = space_of(database, settings)
    load_version(database, "EN_A", TEXTS, ALLOWED)
    republish(database, space, "EN_A", TEXTS, embed_queries(settings, space.spec, TEXTS))
    table = bible_table(space)
    maintained(database, settings, table, lists=1)
    return table


def judged(
    database: Database, make_settings: MakeSettings, table: VectorTable, path: Path | None
) -> IndexVerdict:
    settings = index_settings(
        make_settings, rag_embedding_small_dimensions=512, rag_golden_queries=path
    )
    (verdict,) = judge_index(
        database, settings, table, ["golden_queries"], run_id="check", progress=Silent()
    )
    with database.connect() as connection:
        (result,) = check_results(connection, table)
    assert result.passed is (not verdict.failures)
    assert result.reasons == verdict.failures
    return verdict


def golden(text: str, reference: str, language: str = "en") -> str:
    return f'[[query]]\nlanguage = "{language}"\ntext = "{text}"\nexpected = ["{reference}"]\n'


def test_queries_that_find_their_verses_pass(
    database: Database, make_settings: MakeSettings, offline: VectorTable, tmp_path: Path
) -> None:
    """A verse in another language's version, or in no served version, does not count."""
    path = write(
        tmp_path,
        golden("number 17 runs before 24 days", "GEN 1:18")
        + golden("number 999 runs before 1006 days", "GEN 20:50", "en-GB")
        + golden("o rio", "GEN 1:1", "pt")
        + golden("something else", "REV 22:21"),
    )
    verdict = judged(database, make_settings, offline, path)
    assert verdict.failures == ()
    figures = ("asked", "answered", "lost")
    assert [verdict.measured[f"{name}_golden_queries"] for name in figures] == [2, 2, 0]
    assert verdict.measured["recall_at_10_golden_queries"] == 1
    assert verdict.measured["lists"] == 1
    assert verdict.summary == "recall@10: golden queries 1.000 (2 answered)"


def test_an_expectation_that_the_vectors_cannot_meet_fails(
    database: Database, make_settings: MakeSettings, offline: VectorTable, tmp_path: Path
) -> None:
    path = write(
        tmp_path,
        golden("number 17 runs before 24 days", "GEN 20:50")
        + golden("number 18 runs before 25 days", "GEN 20:50")
        + golden("number 19 runs before 26 days", "GEN 1:20"),
    )
    verdict = judged(database, make_settings, offline, path)
    (failure,) = verdict.failures
    assert failure.startswith("exact search answers 1 of 3 golden queries, under 50%")
    assert "number 17 runs before 24 days (no filter); number 18 runs" in failure


def test_queries_for_versions_that_are_not_served_are_no_evidence(
    database: Database, make_settings: MakeSettings, offline: VectorTable, tmp_path: Path
) -> None:
    path = write(tmp_path, golden("o rio", "GEN 1:1", "pt") + golden("the end", "REV 22:21"))
    verdict = judged(database, make_settings, offline, path)
    (failure,) = verdict.failures
    assert failure.startswith("no golden query expects a verse of the versions served")


@pytest.mark.parametrize("content", [None, "[[query]", "query = []"])
def test_a_file_that_cannot_be_read_fails_the_check(
    database: Database,
    make_settings: MakeSettings,
    offline: VectorTable,
    tmp_path: Path,
    content: str | None,
) -> None:
    path = tmp_path / "nowhere.toml" if content is None else write(tmp_path, content)
    (failure,) = judged(database, make_settings, offline, path).failures
    assert str(path) in failure


def test_disabling_golden_queries_passes_and_is_reported(
    database: Database, make_settings: MakeSettings, offline: VectorTable
) -> None:
    verdict = judged(database, make_settings, offline, None)
    assert verdict.failures == ()
    assert verdict.measured["golden_queries"] == "none, by RAG_GOLDEN_QUERIES"


def lost_by_one_probe(
    database: Database, table: VectorTable, queries: NDArray[np.float32]
) -> dict[int, int]:
    """Indexes of queries with a verse that exact search finds and one list does not."""
    narrow = SearchPlan("ivfflat", 1, "halfvec", 1, 1)
    lost = {}
    with (
        database.connect(autocommit=True) as exact,
        database.connect(autocommit=True) as planned,
    ):
        prepare_connection(exact)
        prepare_connection(planned)
        for place, query in enumerate(queries):
            true = [row for row, _ in
                    nearest(exact, table, EXACT, query, top_k=10, scopes=["EN_A"])]  # fmt: skip
            found = {row for row, _ in
                     nearest(planned, table, narrow, query, top_k=10, scopes=["EN_A"])}  # fmt: skip
            missing = [row for row in true if row not in found]
            if missing:
                lost[place] = missing[0]
    return lost


def results_of(
    database: Database, settings: Settings, target: Target, texts: EmbeddedTexts
) -> dict[QueryClass, ClassResult]:
    served = on_trial(database, target)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        questions = ask(
            connection, target.table, texts.vectors[:0], [], everything=target.scopes, texts=texts
        )
        return class_results(connection, settings, served, questions, tuple(QueryClass))


def test_an_answer_that_the_index_loses_is_named(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(make_settings)
    table = filled_table(database, settings, {"EN_A": 1100}, spread=1.5)
    outcome = maintained(database, settings, table)
    with database.connect() as connection:
        queries = held_out_queries(connection, table, 30, seed=3)
    lost = lost_by_one_probe(database, table, queries)
    assert lost, "one list of 64 is not enough for these"
    rows = [(place, frozenset({lost[place]})) for place in sorted(lost)]
    golden = [
        TextQuery(f"query {n}", QueryClass.GOLDEN, row, expected=("GEN 1:1",)) for n, row in rows
    ]
    sampled = [TextQuery(f"words {n}", QueryClass.FRAGMENTS, row) for n, row in rows]
    live = [TextQuery(f"secret {n}", QueryClass.LIVE, name=f"live query {n}") for n, _ in rows]
    vectors = np.vstack([queries[sorted(lost)]] * 3)
    texts = EmbeddedTexts((*golden, *sampled, *live), vectors)
    count = len(golden)

    narrow = Target(table, {"EN_A": 1100}, 1, "halfvec", Probes(1, 1, 1))
    found = results_of(database, settings, narrow, texts)
    named = tuple(f"{query.text} (no filter)" for query in golden)
    explain = {
        name: f"rag-assets explain '{query.text}' --corpus bible --expect 'GEN 1:1'"
        for name, query in zip(named, golden, strict=True)
    }
    assert found[QueryClass.GOLDEN] == ClassResult(count, count, 0.0, named, explain=explain)
    assert found[QueryClass.FRAGMENTS].lost == tuple(f"{q.text} (no filter)" for q in sampled)
    of_live = found[QueryClass.LIVE]
    assert 0 < of_live.recall < 1, "some of the ten nearest rows are in the nearest list"
    assert not any("secret" in query for query in of_live.lost)
    (of_golden,) = judge_golden(
        {QueryClass.GOLDEN: found[QueryClass.GOLDEN]}, floor=0.5, lost_max=0
    )
    assert of_golden.startswith(
        f"the released search loses {count} of the {count} golden queries that exact search "
        "answers, more than 0. Lost: "
    )
    assert named[0] in of_golden
    assert of_golden.endswith(f". Why: `{explain[named[0]]}`")
    (of_fragments,) = judge_sampled(QueryClass.FRAGMENTS, found[QueryClass.FRAGMENTS], floor=0.99)
    assert of_fragments.startswith(
        f"fragments: recall@10 0.000 is under 0.99: the released search loses {count} of the "
        f"{count} that exact search answers. Lost: {sampled[0].text} (no filter)"
    )

    every_list = target_of(table, {"EN_A": 1100}, outcome.generation, 64)
    found = results_of(database, settings, every_list, texts)
    assert {(result.recall, result.lost) for result in found.values()} == {(1.0, ())}


def test_a_query_also_runs_without_its_language(
    database: Database, make_settings: MakeSettings
) -> None:
    """A language with few rows is searched exactly, which hid what an unfiltered search loses."""
    settings = index_settings(make_settings)
    languages = {"EN_A": "en", "PT_A": "pt"}
    rows = {"EN_A": 390, "PT_A": 800}
    table = filled_table(database, settings, rows, spread=1.5, languages=languages)
    maintained(database, settings, table)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        vectors = held_out_queries(connection, table, 60, seed=3)
        texts = []
        for place, vector in enumerate(vectors):
            near = nearest(connection, table, EXACT, vector, top_k=9, scopes=list(rows))
            english = connection.execute(
                "SELECT book, chapter, verse FROM verses"
                " WHERE version_code = 'EN_A' AND verse_id = ANY(%s)",
                ([row for row, _ in near],),
            ).fetchall()
            for book, chapter, verse in english[-1:]:
                golden = GoldenQuery("en-GB", f"query {place}", (f"{book} {chapter}:{verse}",))
                texts.append((golden, vector))
        assert golden_texts(connection, [golden for golden, _ in texts], rows, languages)
        asked = [golden_texts(connection, [golden], rows, languages) for golden, _ in texts]
    pairs = [
        (query, vector) for (_, vector), two in zip(texts, asked, strict=True) for query in two
    ]
    embedded = EmbeddedTexts(
        tuple(query for query, _ in pairs), np.array([vector for _, vector in pairs])
    )
    one_list = Target(table, rows, 1, "halfvec", Probes(1, 1, 1))
    found = results_of(database, settings, one_list, embedded)
    plain, confined = found[QueryClass.GOLDEN], found[QueryClass.GOLDEN_LANGUAGE]
    assert (plain.asked, confined.asked) == (len(texts), len(texts))
    assert plain.lost
    assert all(query.endswith(" (no filter)") for query in plain.lost)
    assert confined.lost == ()


@pytest.mark.parametrize(
    ("asked", "answered", "lost", "lost_max", "failures"),
    [
        (0, 0, 0, 0, 1),
        (100, 50, 0, 0, 0),
        (100, 49, 0, 0, 1),
        (100, 100, 1, 0, 1),
        (100, 100, 1, 1, 0),
        (100, 100, 2, 1, 1),
        (100, 40, 10, 9, 2),
        (100, 0, 0, 0, 1),
    ],
)
def test_golden_queries_are_judged_by_the_number_lost(
    asked: int, answered: int, lost: int, lost_max: int, failures: int
) -> None:
    half = ClassResult(asked, answered, 0.0, ("a query",) * lost)
    results = {QueryClass.GOLDEN: half, QueryClass.GOLDEN_LANGUAGE: ClassResult(0, 0, 1.0)}
    assert len(judge_golden(results, floor=0.5, lost_max=lost_max)) == failures


@pytest.mark.parametrize(
    ("answered", "lost", "floor", "passes"),
    [(100, 0, 1, True), (100, 1, 1, False), (100, 10, 0.9, True), (100, 11, 0.9, False),
     (198, 2, 0.99, True), (198, 3, 0.99, False), (49, 1, 0.99, False), (0, 0, 0.99, True)],
)  # fmt: skip
def test_a_sampled_class_is_judged_at_its_floor_in_whole_queries(
    answered: int, lost: int, floor: float, passes: bool
) -> None:
    recall = (answered - lost) / answered if answered else 1.0
    result = ClassResult(200, answered, recall, ())
    assert (judge_sampled(QueryClass.OPENINGS, result, floor=floor) == ()) is passes


@pytest.mark.parametrize(
    ("values", "allowed", "warned"),
    [
        ({}, 0, False),
        ({"rag_golden_lost_max": 3}, 3, False),
        ({"rag_golden_agreement": 0.98}, 0, True),
        ({"rag_golden_agreement": 0.9}, 2, True),
        ({"rag_golden_agreement": 0.9, "rag_golden_lost_max": 0}, 0, True),
    ],
)
def test_the_share_of_golden_queries_is_read_for_one_more_version(
    make_settings: MakeSettings, values: dict[str, object], allowed: int, warned: bool
) -> None:
    settings = make_settings(**values)
    assert settings.golden_lost_max(28) == allowed
    assert ("RAG_GOLDEN_AGREEMENT" in settings.deprecated()) is warned
