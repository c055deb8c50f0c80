"""A space that nothing serves any more is dropped whole; one that is needed is not."""

from __future__ import annotations

import pytest

from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets.release.dropping import drop_space
from rag_assets.release.releasing import activate, roll_back
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import Space
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.release.corpus import (
    active_number,
    check,
    embed,
    index,
    prepare,
    release_corpus,
    release_settings,
)
from rag_assets_tests.searches import ask
from rag_assets_tests.vectors.vectors import count_rows


def drop(database: Database, settings: Settings, space_id: int) -> Space:
    return drop_space(database, settings, space_id, progress=Silent())


@pytest.fixture
def changed(database: Database, make_settings: MakeSettings) -> tuple[Settings, Settings]:
    """A corpus with codes whose model was changed: release 1 in space 1, release 2 in space 2."""
    values = {"rag_code_bits": 64}
    old = release_settings(make_settings, **values)
    new = release_settings(make_settings, **values, rag_embedding_small_dimensions=80)
    prepare(database, old)
    release_corpus(database, old)
    embed(database, new, "EN_A")
    check(database, new, "EN_A")
    index(database, new)
    release_corpus(database, new)
    return old, new


def test_everything_of_a_dropped_space_goes_and_no_release_can_search_it(
    database: Database, changed: tuple[Settings, Settings]
) -> None:
    old, new = changed
    ask(database, new, "A sentence", top_k=1)
    with database.connect() as connection:
        sets = connection.execute("SELECT code_set FROM code_sets WHERE space_id = 1").fetchall()
    assert sets
    assert drop(database, new, 1).spec.dimensions == 64
    assert count_rows(database, "verse_embeddings_s1") == 0
    assert count_rows(database, "answered_texts_s1") == 0
    with database.connect() as connection:
        left = connection.execute(
            "SELECT count(*) FILTER (WHERE state <> 'dropped'),"
            " count(to_regclass(code_table(corpus, code_set)))"
            " FROM code_sets WHERE space_id = 1"
        ).fetchone()
        paid = connection.execute(
            "SELECT count(*) FROM embedding_ledger WHERE space_id = 1"
        ).fetchone()
    assert left == (0, 0)
    assert paid != (0,), "what it cost stays known"
    for back in (lambda: roll_back(database), lambda: activate(database, 1)):
        with pytest.raises(ConfigurationError, match="space 1, whose vectors were dropped"):
            back()
    assert active_number(database) == 2
    assert ask(database, new, "A sentence", top_k=1).release_id == 2
    # Filled again, it is a space like any other.
    embed(database, old, "EN_A")
    check(database, old, "EN_A")
    index(database, old)
    assert release_corpus(database, old).release.release_id == 3


def test_a_space_that_is_needed_is_not_dropped(
    database: Database, changed: tuple[Settings, Settings]
) -> None:
    old, new = changed
    with pytest.raises(ConfigurationError, match=r"space 2 .* serves release 2"):
        drop(database, old, 2)
    with pytest.raises(ConfigurationError, match=r"space 1 .* the one that the settings name"):
        drop(database, old, 1)
    with pytest.raises(ConfigurationError, match="no embedding space 9"):
        drop(database, new, 9)
    assert count_rows(database, "verse_embeddings_s1") == 60
