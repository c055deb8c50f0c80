"""Golden queries: the expected verses are found, exactly and through the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.errors import ConfigurationError
from rag_assets.index.checks import IndexVerdict, judge_golden, judge_index
from rag_assets.index.golden import (
    GoldenQuery,
    GoldenResult,
    golden_cases,
    golden_result,
    read_golden_queries,
)
from rag_assets.index.measuring import target_of
from rag_assets.index.questions import EmbeddedTexts, TextQuery, ask, held_out_queries
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
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
    assert {query.language.partition("-")[0] for query in queries} == {"en", "pt"}
    assert queries[0] == GoldenQuery("en", "where you go I will go", ("RUT 1:16",))


def test_a_file_is_read_in_its_order(tmp_path: Path) -> None:
    second = '[[query]]\nlanguage = "pt-BR"\ntext = "rio"\nexpected = ["1JN 5:7", "PSA 119:1"]\n'
    assert read_golden_queries(write(tmp_path, QUERY + second)) == (
        GoldenQuery("en", "the river runs", ("GEN 1:1",)),
        GoldenQuery("pt-BR", "rio", ("1JN 5:7", "PSA 119:1")),
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no [[query]]"),
        ("query = []", "holds no [[query]]"),
        ("query = 3", "holds no [[query]]"),
        ("[query]\ntext = 'a'", "holds no [[query]]"),
        ("[[query]", "is not TOML"),
        ('query = ["where you go"]', "query 1"),
        ("[[query]]\ntext = 'a'\nexpected = ['GEN 1:1']", "query 1 needs a language and a text"),
        (QUERY + "[[query]]\nlanguage = 'en'\ntext = ' '", "query 2 needs a language and a text"),
        ("[[query]]\nlanguage = 'en'\ntext = 3\nexpected = ['GEN 1:1']", "query 1 needs"),
        (QUERY.replace('["GEN 1:1"]', "[]"), "('the river runs') expects nothing"),
        (QUERY.replace('["GEN 1:1"]', '"GEN 1:1"'), "expects nothing"),
        (QUERY.replace("GEN 1:1", "Genesis 1:1"), "expects 'Genesis 1:1': write it as RUT 1:16"),
        (QUERY.replace("GEN 1:1", "GEN 1"), "expects 'GEN 1'"),
        (QUERY.replace("GEN 1:1", "XYZ 1:1"), "expects 'XYZ 1:1'"),
        (QUERY.replace("GEN 1:1", "gen 1:1"), "expects 'gen 1:1'"),
        (QUERY.replace('"GEN 1:1"', "11"), "expects 11"),
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
    assert "RAG_GOLDEN_QUERIES, or set it to none" in str(caught.value)


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
    assert (verdict.measured["applicable"], verdict.measured["by_exact"]) == (2, 2)
    assert (verdict.measured["by_plan"], verdict.measured["lists"]) == (2, 1)


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


def asked(
    database: Database, settings: Settings, target: Target, texts: EmbeddedTexts
) -> GoldenResult:
    served = on_trial(database, target)
    cases = golden_cases(texts, target.scopes, served.languages)
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        questions = ask(connection, target.table, texts.vectors[:0], cases.values(), texts=texts)
        return golden_result(connection, settings, served, questions)


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
    golden = [TextQuery(f"query {place}", {lost[place]: "EN_A"}, "en") for place in sorted(lost)]
    sampled = [TextQuery(f"words {place}", {lost[place]: "EN_A"}) for place in sorted(lost)]
    vectors = np.vstack([queries[sorted(lost)]] * 2)
    texts = EmbeddedTexts((*golden, *sampled), vectors)
    count = len(golden)

    narrow = Target(table, {"EN_A": 1100}, 1, "halfvec", Probes(1, 1, 1))
    result = asked(database, settings, narrow, texts)
    named = tuple(f"{query.text} (no filter)" for query in golden)
    assert result == GoldenResult(
        count, count, 0, named, (), count, count, tuple(f"{q.text} (no filter)" for q in sampled)
    )
    of_golden, of_fragments = judge_golden(result, floor=0.5, agreement=1, fragment_agreement=0.98)
    assert of_golden.startswith(
        f"the released search answers 0 of the {count} golden queries that exact search answers, "
        "under 100%"
    )
    assert named[0] in of_golden
    assert of_fragments.startswith(
        f"the released search loses {count} of the {count} fragments of passages that exact"
    )
    assert sampled[0].text in of_fragments

    every_list = target_of(table, {"EN_A": 1100}, outcome.generation, 64)
    result = asked(database, settings, every_list, texts)
    assert (result.by_plan, result.lost, result.fragments_lost) == (count, (), ())
    assert judge_golden(result, floor=0.5, agreement=1, fragment_agreement=1) == ()


def test_a_query_also_runs_without_its_language(
    database: Database, make_settings: MakeSettings
) -> None:
    """A language with few rows is searched exactly, which hid what an unfiltered search loses."""
    settings = index_settings(make_settings)
    languages = {"EN_A": "en", "PT_A": "pt"}
    table = filled_table(
        database, settings, {"EN_A": 390, "PT_A": 800}, spread=1.5, languages=languages
    )
    maintained(database, settings, table)
    with database.connect() as connection:
        queries = held_out_queries(connection, table, 60, seed=3)
    everything = ["EN_A", "PT_A"]
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        near = [
            [row for row, _ in nearest(connection, table, EXACT, q, top_k=9, scopes=everything)]
            for q in queries
        ]
        english = {
            row[0]
            for row in connection.execute("SELECT verse_id FROM verses WHERE version_code = 'EN_A'")
        }
    farthest = {
        place: [row for row in rows if row in english][-1]
        for place, rows in enumerate(near)
        if english.intersection(rows)
    }
    places = list(farthest)
    texts = EmbeddedTexts(
        tuple(TextQuery(f"query {place}", {farthest[place]: "EN_A"}, "en-GB") for place in places),
        queries[places],
    )
    one_list = Target(table, {"EN_A": 390, "PT_A": 800}, 1, "halfvec", Probes(1, 1, 1))
    result = asked(database, settings, one_list, texts)
    assert result.applicable == 2 * len(places)
    assert result.lost
    assert all(query.endswith(" (no filter)") for query in result.lost)


@pytest.mark.parametrize(
    ("applicable", "by_exact", "by_plan", "fragments_lost", "failures"),
    [
        (0, 0, 0, 0, 1),
        (100, 50, 50, 0, 0),
        (100, 49, 49, 0, 1),
        (100, 100, 99, 0, 1),
        (100, 100, 100, 2, 0),
        (100, 100, 100, 3, 1),
        (100, 40, 30, 3, 3),
        (100, 0, 0, 0, 1),
    ],
)
def test_golden_results_are_judged_at_their_floors(
    applicable: int, by_exact: int, by_plan: int, fragments_lost: int, failures: int
) -> None:
    result = GoldenResult(
        applicable, by_exact, by_plan, (), (), 120, 118, ("seven words",) * fragments_lost
    )
    found = judge_golden(result, floor=0.5, agreement=1, fragment_agreement=0.98)
    assert len(found) == failures
