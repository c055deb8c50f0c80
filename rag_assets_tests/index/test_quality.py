"""How well the next release answers golden queries, and the floor that the gate can hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rag_assets.documents.sql.corpora import CorpusOptions, register_corpus
from rag_assets.index.quality import QUALITY_CHECK, Quality, measure_quality
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.release.gate import judge_release
from rag_assets.release.reasons import Reason
from rag_assets.release.refusal import command_of
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.check_results import check_results
from rag_assets.vectors.sql.tables import bible_table
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.index.corpus import index_settings, maintained, republish
from rag_assets_tests.release import evidence
from rag_assets_tests.vectors.vectors import space_of

TEXTS = [*sentences(40), "The LORD is my shepherd", "A lamp in the window",
         *sentences(90, word="stream")]  # fmt: skip


TO_THE_SEA = "the number runs down to the sea"


def write(folder: Path, *queries: str) -> Path:
    path = folder / "golden.toml"
    path.write_text("".join(f"[[query]]\n{query}\n" for query in queries), encoding="utf-8")
    return path


@pytest.fixture
def settings(database: Database, make_settings: MakeSettings, tmp_path: Path) -> Settings:
    """A version with the offline embedder's vectors, and a decision on its index."""
    found = index_settings(
        make_settings,
        rag_embedding_small_dimensions=512,
        rag_golden_queries=write(
            tmp_path,
            'text = "my shepherd"\nexpected = ["GEN 1:41"]',
            'text = "my shepherd"\nlanguage = "en"\nnot_first = ["GEN 1:41"]',
            'text = "a lantern"\nexpected = ["lamps.pdf", "REV 22:21"]',
            'text = "o pastor"\nlanguage = "pt"\nexpected = ["GEN 1:41"]',
            'text = "zebra quagga"\nexpected = ["GEN 1:1", "lamps.pdf"]',
            'text = "' + TO_THE_SEA + '"\nexpected = ["GEN 1:42"]',
        ),
    )
    space = space_of(database, found)
    load_version(database, "EN_A", TEXTS, ALLOWED)
    republish(database, space, "EN_A", TEXTS, embed_queries(found, space.spec, TEXTS))
    maintained(database, found, bible_table(space))
    return found


def measured(database: Database, settings: Settings) -> Quality:
    quality = measure_quality(database, settings, run_id="run", progress=Silent())
    assert quality is not None
    return quality


def test_golden_queries_are_asked_by_vectors_and_by_both(
    database: Database, settings: Settings
) -> None:
    """Queries of which nothing is in the corpus, or not in their language, are left out."""
    quality = measured(database, settings)
    assert (quality.asked, quality.left_out) == (4, 2)
    assert quality.wrong_first == {"vectors": ("my shepherd",), "hybrid": ("my shepherd",)}
    assert quality.figures["hybrid_hit_at_1"] == 0.3333
    assert quality.figures["vectors_recall_at_100"] == 0.6667
    assert quality.figures["vectors_wrong_first"] == 1
    assert quality.missed == dict.fromkeys(("vectors", "hybrid"), (TO_THE_SEA,))
    command = f"rag-assets explain '{TO_THE_SEA}' --top-k 100 --corpus bible --expect 'GEN 1:42'"
    assert quality.explain == (command, f"{command} --hybrid")
    with database.connect() as connection:
        (result,) = check_results(connection, bible_table(space_of(database, settings)))
        left = connection.execute("SELECT count(*) FROM text_statistics").fetchone()
    assert (result.check, result.passed, result.measured["asked"]) == (QUALITY_CHECK, True, 4)
    assert left == (0,)


def test_without_a_file_nothing_is_asked(database: Database, settings: Settings) -> None:
    without = settings.model_copy(update={"rag_golden_queries": None})
    assert measure_quality(database, without, run_id="run", progress=Silent()) is None


def test_the_golden_file_of_a_corpus_is_asked_of_it_alone(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    """The verse would be found, but is not in the corpus."""
    folder = tmp_path / "handbook"
    folder.mkdir()
    golden = write(folder, 'text = "my shepherd"\nexpected = ["GEN 1:41"]')
    with database.connect(autocommit=True) as connection:
        register_corpus(connection, CorpusOptions("handbook", "there", golden_file=str(golden)))
    quality = measured(database, settings.model_copy(update={"rag_golden_queries": None}))
    assert (quality.asked, quality.left_out) == (0, 1)


def reasons(floor: float | None, **figures: float) -> list[Reason]:
    """The gate's, of a release without other faults whose queries gave these figures."""
    passing = evidence.passing()
    assert passing.index is not None
    results = dict(passing.index.results)
    if figures:
        results[QUALITY_CHECK] = evidence.result(
            QUALITY_CHECK, subject=evidence.SUBJECT, revision=7, measured=figures
        )
    index = replace(passing.index, results=results)
    verdict = judge_release(
        replace(passing, index=index), max_age=evidence.MAX_AGE, leave_out_failing=False,
        quality_floor=floor,
    )  # fmt: skip
    return list(verdict.reasons)


def test_the_gate_holds_a_floor_only_if_there_is_one() -> None:
    good = {"vectors_ndcg_at_10": 0.8, "hybrid_ndcg_at_10": 0.9}
    assert reasons(None) == reasons(None, **good | {"vectors_ndcg_at_10": 0.1}) == []
    assert reasons(0.8, **good) == []
    (low,) = reasons(0.85, **good)
    assert (low.check, low.kind) == (QUALITY_CHECK, "failed")
    assert "nDCG@10 of the golden queries by vectors is 0.800, under 0.85" in low.sentence
    (missing,) = reasons(0.8)
    assert (missing.kind, command_of(missing)) == ("missing", "materialize retrieval_quality")
    assert "no golden query was asked by vectors" in reasons(0.0, asked=0)[0].sentence
