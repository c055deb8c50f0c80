"""What words count in hybrid search, as a release candidate measures it by parallel verses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rag_assets.index.text_weights import (
    WEIGHTS,
    Pair,
    TextWeights,
    choose_weight,
    measure_text_weights,
    pairs_of,
    weights_of,
)
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.retrieval.fusion import TEXT_WEIGHT
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import served_now
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences
from rag_assets_tests.index.corpus import republish
from rag_assets_tests.release.corpus import (
    check,
    embed,
    index,
    release_corpus,
    release_settings,
)
from rag_assets_tests.vectors.vectors import space_of


def scores(**by_weight: Sequence[float]) -> Mapping[float, Sequence[float]]:
    """nDCG@10 of some queries; at weights that are not given, as at the default."""
    default = by_weight["default"]
    names = {0.0: "vectors", 1.0: "words", 0.8: "high", TEXT_WEIGHT: "default"}
    return {weight: by_weight.get(names.get(weight, ""), default) for weight in WEIGHTS}


BAD, GOOD = [0.0] * 60, [1.0] * 60


def test_the_default_stays_unless_another_weight_is_better_beyond_chance() -> None:
    mixed = [0.0, 1.0] * 30
    slightly = [1.0, *mixed[1:]]
    assert (
        choose_weight([scores(default=mixed, vectors=BAD, words=mixed, high=slightly)], ()) == 0.35
    )
    assert choose_weight([scores(default=BAD, vectors=BAD, words=GOOD, high=GOOD)], ()) == 0.8


def test_the_default_stays_where_vectors_alone_find_more_than_words() -> None:
    known = scores(default=BAD, vectors=[*GOOD[1:], 0.0], words=BAD, high=GOOD)
    assert choose_weight([known], ()) == TEXT_WEIGHT


def test_a_weight_that_makes_a_pair_worse_than_its_better_half_is_not_taken() -> None:
    foreign = scores(default=BAD, vectors=BAD, words=GOOD, high=GOOD)
    same = scores(default=GOOD[:30], vectors=GOOD[:30], words=BAD[:30], high=BAD[:30])
    languages = {"EN_A": "en", "PT_A": "pt-BR", "PT_B": "pt"}
    pair = Pair("EN_A", "PT_A")
    assert weights_of({pair: foreign}, languages) == {"pt": 0.8}
    assert weights_of({pair: foreign, Pair("PT_B", "PT_A"): same}, languages) == {}
    nearer = scores(default=BAD, vectors=BAD, words=GOOD, high=[*GOOD[20:], *BAD[:20]])
    assert weights_of({pair: nearer}, languages) == {"pt": 0.8}, "worse than words, not than now"


def test_verses_come_from_the_two_largest_other_languages_and_from_the_same() -> None:
    rows = {"EN_A": 9, "EN_B": 8, "EN_C": 7, "PT_A": 6, "FR_A": 5, "DE_A": 4}
    found = list(map(str, pairs_of(rows, {code: code[:2].lower() for code in rows})))
    assert found[:3] == ["PT_A → EN_A", "FR_A → EN_A", "EN_B → EN_A"]
    assert found[3:5] == ["EN_A → PT_A", "FR_A → PT_A"]
    assert len(found) == 9
    assert pairs_of({"EN_A": 9, "EN_B": 9}, {"EN_A": "en", "EN_B": "en"}) == ()


def test_a_language_with_too_few_verses_is_measured_again_once_it_has_enough(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    for count in (40, 160):
        for code, language in (("EN_A", "en"), ("PT_A", "pt")):
            texts = sentences(count, word=code)
            load_version(database, code, texts, replace(ALLOWED, language=language))
            embed(database, settings, code)
        check(database, settings, "EN_A", "PT_A")
        index(database, settings)
        measured = measure_text_weights(database, settings, run_id="run", progress=Silent())
        assert measured is not None
        assert (measured.ndcg != {}) is (count == 160)


def test_a_release_takes_the_weight_of_a_language_that_its_model_does_not_know(
    database: Database, make_settings: MakeSettings
) -> None:
    """Portuguese vectors are drawn at random; French ones are those of the English verses."""
    settings = release_settings(make_settings)
    space = space_of(database, settings)
    english = [f"{text} Name{number}" for number, text in enumerate(sentences(160))]
    portuguese = [f"o rei {f'Name{n}' if n % 2 else n} falou" for n in range(160)]
    french = [f"le fleuve {'abcdefghij'[n // 16]}{'klmnopqrstuvwxyz'[n % 16]}" for n in range(160)]
    noise = np.random.default_rng(1).standard_normal((160, 64)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    load_version(database, "EN_A", english)
    load_version(database, "PT_A", portuguese, replace(ALLOWED, language="pt"))
    load_version(database, "FR_A", french, replace(ALLOWED, language="fr"))
    known = embed_queries(settings, space.spec, english)
    republish(database, space, "EN_A", english, known)
    republish(database, space, "FR_A", french, known)
    republish(database, space, "PT_A", portuguese, noise)
    check(database, settings, "EN_A", "FR_A", "PT_A")
    index(database, settings)

    said = settings.model_copy(update={"rag_text_weight": 0.1})
    assert measure_text_weights(database, said, run_id="run", progress=Silent()) is None
    measured = measure_text_weights(database, settings, run_id="run", progress=Silent())
    assert measured is not None
    assert set(measured.weights) == {"pt"}
    assert measured.weights["pt"] > TEXT_WEIGHT
    assert len(measured.ndcg) == 6
    again = measure_text_weights(database, settings, run_id="run", progress=Silent())
    assert again == TextWeights(measured.weights, {}), "its languages are the same"

    release_corpus(database, settings)
    request = SearchRequest(top_k=1, text="Name7", hybrid=True)
    unlike = np.asarray(noise[9])
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        served = served_now(connection, settings)
        assert served.text.weights == measured.weights
        released, default = (
            search(connection, settings, served, replace(request, text_weight=weight), unlike)
            for weight in (None, TEXT_WEIGHT)
        )
    assert released.hits[0].usfm == "GEN 1:8"
    assert default.hits[0].usfm == "GEN 1:10"
