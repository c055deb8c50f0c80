"""Real sentence vectors of two Bibles: the floors are reached on realistic data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rag_assets.index.cases import EVERYTHING, filter_cases
from rag_assets.index.checks import judge_recall
from rag_assets.index.measuring import Alone, recall_of, target_of
from rag_assets.index.questions import ask
from rag_assets.postgres.database import Database
from rag_assets.retrieval.plan import choose_plan
from rag_assets.vectors.sql.nearest import nearest, prepare_connection
from rag_assets.vectors.sql.tables import bible_table
from rag_assets_tests.conftest import SHARED_DATA, MakeSettings
from rag_assets_tests.index.corpus import copy_rows, index_settings, maintained, on_trial
from rag_assets_tests.vectors.vectors import space_of

FOLDER = SHARED_DATA / "embeddings"
KJV, PT = "EN_KJV", "PT_BLIVRE"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FOLDER.exists(), reason="the real vectors are not here"),
]


def vectors_of(name: str) -> NDArray[np.float32]:
    """float32, shape (n, 384), of length 1."""
    rows = np.load(FOLDER / f"{name}.minilm384.f16.npy").astype(np.float32)
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_two_bibles_are_indexed_within_the_floors_and_real_queries_find_their_verses(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = index_settings(
        make_settings,
        rag_embedding_small_dimensions=384,
        rag_index_profile="prod",
        rag_search_exact_rows=50_000,
    )
    space = space_of(database, settings)
    kjv, pt = vectors_of(KJV), vectors_of(PT)
    copy_rows(database, space, KJV, kjv)
    copy_rows(database, space, PT, pt, first_id=len(kjv) + 1, language="pt")
    table = bible_table(space)
    rows = {KJV: len(kjv), PT: len(pt)}
    outcome = maintained(database, settings, table)
    assert outcome.generation is not None
    assert outcome.generation.probes is not None
    assert outcome.generation.lists == 64
    assert outcome.generation.probes.plain < 64, "an index that must be read whole is no index"

    queries = vectors_of("queries_EN_ASV")[:300]
    target = target_of(table, rows, outcome.generation, None)
    served = on_trial(database, target)
    filters = filter_cases(rows, {KJV: "en", PT: "pt"})
    with database.connect(autocommit=True) as connection:
        questions = ask(connection, table, queries, [(KJV, PT), *filters.values()])
    whole = recall_of(
        Alone(database.connect, settings, served, questions.queries),
        questions,
        {EVERYTHING: (KJV, PT)},
    )
    point = whole[EVERYTHING]
    assert point.probes == outcome.generation.probes.plain
    assert point.recall >= 0.95
    assert point.k_returned == 10
    confined = recall_of(
        Alone(database.connect, settings, served, questions.queries), questions, filters
    )
    assert judge_recall(confined, dict.fromkeys(filters, 31101), floor=0.999) == ()
    assert {one.probes for one in confined.values()} == {0}, "one Bible is searched exactly"

    references = (FOLDER / "EN_KJV.refs.txt").read_text().split()
    gold = (FOLDER / "queries_EN_ASV.gold.txt").read_text().split()[:300]
    ids = {reference: place for place, reference in enumerate(references, start=1)}
    similarities = queries @ np.vstack([kjv, pt]).T
    best = np.argpartition(-similarities, 10, axis=1)[:, :10] + 1
    plan = choose_plan(target, (KJV, PT), exact_rows=50_000)
    by_exact = by_plan = 0
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        for query, reference, true in zip(queries, gold, best, strict=True):
            if ids[reference] not in true:
                continue
            by_exact += 1
            found = nearest(connection, table, plan, query, top_k=10, scopes=(KJV, PT))
            by_plan += ids[reference] in {row for row, _ in found}
    assert by_exact > 290
    assert by_plan >= 0.98 * by_exact
