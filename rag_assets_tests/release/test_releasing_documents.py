"""Real releases with documents: created, switched, rolled back."""

from __future__ import annotations

import pytest

from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.errors import GateRefusedError
from rag_assets.postgres.database import Database
from rag_assets.release.releasing import activate, evaluate_gate, roll_back
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import LIVE_NAMES
from rag_assets.vectors.sql.served import Release, active_release
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.documents.corpus import (
    check_documents,
    index_documents,
    judge_all,
    publish_document,
)
from rag_assets_tests.release.corpus import (
    active_number,
    index,
    index_of_name,
    prepare,
    release_corpus,
    release_settings,
)

pytestmark = pytest.mark.long

LIVING = LIVE_NAMES["documents"]
TABLE = "chunk_embeddings_s1"


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """With an index from the first row on."""
    return release_settings(make_settings, rag_index_min_rows=1)


def publish(database: Database, settings: Settings, key: str, count: int = 40) -> None:
    publish_document(database, settings, key, sentences(count, word=key))


def released(database: Database) -> Release:
    with database.connect() as connection:
        found = active_release(connection)
    assert found is not None
    return found


def test_documents_join_the_release_once_they_are_checked(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    bible = release_corpus(database, settings).release
    publish(database, settings, "pumps")
    same = release_corpus(database, settings)
    assert same.verdict.unchanged
    assert same.verdict.left_out == {"documents": "not checked yet"}

    judge_all(database, settings)
    made = release_corpus(database, settings).release
    space = made.space("documents", "small")
    assert space is not None
    assert (space.space_id, space.generation) == (1, 2)
    assert space.probes is not None
    assert made.space("bible", "small") == bible.space("bible", "small")
    assert made.versions == bible.versions
    shown = made.manifest["documents"]
    assert shown["rows"] == {"documents": {"small": 40}}
    assert (shown["index"]["decision"], shown["index"]["lists"]) == ("build", 4)
    assert "documents" in {result["subject"] for result in made.manifest["checks"]}


def test_more_documents_need_no_new_release_and_delay_no_version(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    publish(database, settings, "pumps")
    judge_all(database, settings)
    first = release_corpus(database, settings).release
    publish(database, settings, "valves", 8)  # a fifth more, unchecked
    assert release_corpus(database, settings).verdict.unchanged
    prepare(database, settings, "EN_B")
    second = release_corpus(database, settings).release
    assert (first.release_id, second.release_id) == (1, 2)
    assert second.versions == ("EN_A", "EN_B")

    prepare(database, settings, "EN_C")
    publish(database, settings, "hoses", 40)
    with pytest.raises(GateRefusedError, match="rows changed since the build"):
        release_corpus(database, settings)
    assert active_number(database) == 2
    left = release_corpus(database, settings, leave_out=True)
    assert "rows changed" in left.verdict.left_out["documents"]
    index_documents(database, settings)
    assert release_corpus(database, settings).verdict.documents


def test_the_live_documents_index_has_its_name_after_a_switch_and_back(
    database: Database, settings: Settings
) -> None:
    publish(database, settings, "pumps")
    judge_all(database, settings)
    release_corpus(database, settings)
    assert index_of_name(database, LIVING) == (TABLE, 1)
    index_documents(database, settings, force=True)
    assert index_of_name(database, LIVING) == (TABLE, 1)
    release_corpus(database, settings)
    assert index_of_name(database, LIVING) == (TABLE, 2)
    assert index_of_name(database, f"{TABLE}_ivf_g1") == (TABLE, 1)
    roll_back(database)
    assert index_of_name(database, LIVING) == (TABLE, 1)
    activate(database, 2)
    assert index_of_name(database, LIVING) == (TABLE, 2)


def test_the_index_names_of_both_corpora_coexist(database: Database, settings: Settings) -> None:
    prepare(database, settings)
    publish(database, settings, "pumps")
    judge_all(database, settings)
    release_corpus(database, settings)
    assert index_of_name(database) == ("verse_embeddings_s1", 1)
    assert index_of_name(database, LIVING) == (TABLE, 2)


def test_documents_alone_are_released_and_visible_in_their_view(
    database: Database, settings: Settings
) -> None:
    publish(database, settings, "pumps")
    judge_all(database, settings)
    made = release_corpus(database, settings).release
    assert (made.versions, made.space("bible", "small")) == ((), None)
    with database.connect() as connection:
        (count,) = connection.execute("SELECT count(*) FROM chunk_embeddings").fetchone() or (0,)
    assert count == 40


def test_a_failing_check_of_documents_refuses_unless_they_are_left_out(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    publish(database, settings, "pumps")
    judge_all(database, settings)
    release_corpus(database, settings)
    with database.connect() as connection:
        connection.execute(
            "UPDATE chunk_embeddings_s1 SET embedding = embedding * embedding"
            " WHERE chunk_id = (SELECT min(chunk_id) FROM document_chunks)"
        )
    check_documents(database, settings)
    prepare(database, settings, "EN_B")
    with pytest.raises(GateRefusedError, match="documents: finite_and_normalised: small: 1 "):
        release_corpus(database, settings)
    made = release_corpus(database, settings, leave_out=True).release
    assert made.versions == ("EN_A", "EN_B")
    assert made.space("documents", "small") is None


def test_documents_that_are_all_withdrawn_are_left_out(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    publish(database, settings, "pumps")
    judge_all(database, settings)
    release_corpus(database, settings)
    with database.connect() as connection:
        withdraw(connection, ["pumps"], by="command")
    made = release_corpus(database, settings)
    assert made.verdict.left_out == {"documents": "there are none"}
    assert made.release.space("documents", "small") is None


def test_a_rollback_restores_the_documents_served_before(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    publish(database, settings, "pumps")
    judge_all(database, settings)
    release_corpus(database, settings)
    roll_back(database)
    assert released(database).space("documents", "small") is None
    activate(database, 2)
    assert released(database).space("documents", "small") is not None


def test_a_change_of_model_includes_the_documents_or_is_refused(
    database: Database, make_settings: MakeSettings, settings: Settings
) -> None:
    prepare(database, settings)
    publish(database, settings, "pumps")
    judge_all(database, settings)
    release_corpus(database, settings)
    other = release_settings(make_settings, rag_embedding_small_dimensions=80, rag_index_min_rows=1)
    prepare(database, other)
    index(database, other)
    with database.connect() as connection:
        _, verdict = evaluate_gate(connection, other)
    assert [reason.subject for reason in verdict.reasons] == ["documents"]
    assert "they are served now and have no vectors in offline/" in verdict.reasons[0].sentence

    texts = sentences(40, word="pumps")
    publish_document(database, other, "pumps", texts, again=True)
    judge_all(database, other)
    made = release_corpus(database, other).release
    space = made.space("documents", "small")
    assert space is not None
    assert space.space_id == made.spaces[0].space_id != 1
