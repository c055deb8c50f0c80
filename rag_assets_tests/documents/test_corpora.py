"""Several document corpora share the queue, the lanes and the tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.documents.corpora import registered, settings_by_corpus, settings_for
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import take_in
from rag_assets.documents.sql.corpora import CorpusOptions, document_corpora, register_corpus
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import space_by_id
from rag_assets.vectors.sql.tables import (
    documents_table,
    rows_by_scope,
    scope_revisions,
    unverified_by_scope,
)
from rag_assets_tests.documents.lane import Lane
from rag_assets_tests.documents.queued import keys_of, new, queue, take


def register(database: Database, corpus: str = "handbook", **options: object) -> None:
    with database.connect() as connection:
        register_corpus(connection, CorpusOptions(corpus, **options))  # type: ignore[arg-type]


def test_a_corpus_is_registered_once_and_keeps_its_newest_options(database: Database) -> None:
    with database.connect() as connection:
        assert register_corpus(connection, CorpusOptions("handbook", "inbox2", 200))
        assert not register_corpus(connection, CorpusOptions("handbook", "inbox2", 200))
        assert register_corpus(connection, CorpusOptions("handbook", "inbox3", 200))
        assert list(document_corpora(connection)) == ["documents", "handbook"]
        assert registered(connection, "handbook").inbox_url == "inbox3"
        with pytest.raises(ConfigurationError, match=r"no document corpus handbok: .*handbook"):
            registered(connection, "handbok")


def test_options_replace_settings_and_are_checked_together() -> None:
    settings = settings_for(Settings(), CorpusOptions("handbook", "there", 200))
    assert (settings.rag_documents_url, settings.rag_max_chunk_size) == ("there", 200)
    assert settings.rag_chunk_overlap == Settings().rag_chunk_overlap
    with pytest.raises(ConfigurationError, match="corpus handbook: chunk_overlap"):
        settings_for(Settings(), CorpusOptions("handbook", max_chunk_size=100))


def test_corpora_take_turns_however_many_documents_one_of_them_has(database: Database) -> None:
    register(database)
    queue(database, *(f"d{place}" for place in range(6)))
    queue(database, *(new(f"h{place}", corpus="handbook") for place in range(2)))

    assert keys_of(take(database, limit=3)) == ["d0", "h0", "d1"]
    # The other one was served last, by one document each.
    assert keys_of(take(database, limit=1)) == ["h1"]
    assert keys_of(take(database, limit=10)) == ["d2", "d3", "d4", "d5"]


def test_turns_are_counted_by_lane(database: Database) -> None:
    """One large document is claimed per run, while the other lane serves both corpora."""
    register(database)
    large = "rag_large_docs"
    for place in range(2):
        queue(database, new(f"D{place}", lane=large))
        queue(database, new(f"H{place}", lane=large, corpus="handbook"))
    claimed = []
    for place in range(4):
        queue(database, f"d{place}", new(f"h{place}", corpus="handbook"))
        take(database, limit=2)
        claimed += keys_of(take(database, lane=large, limit=1))
    assert claimed == ["D0", "H0", "D1", "H1"]


def test_what_an_operator_asked_for_comes_before_every_turn(database: Database) -> None:
    register(database)
    queue(database, "d0", new("h0", corpus="handbook"), new("h1", corpus="handbook", priority=0))
    assert keys_of(take(database, limit=2))[0] == "h1"


def test_the_same_path_in_two_inboxes_is_two_documents(lane: Lane, tmp_path: Path) -> None:
    """One run reads both, each from its own inbox and cut as its corpus says."""
    other = tmp_path / "handbook"
    other.mkdir()
    words = " ".join(f"word{place}" for place in range(60))
    (other / "a.md").write_text(f"# Handbook\n\n{words}")
    register(lane.database, inbox_url=str(other), max_chunk_size=40, chunk_overlap=0)
    lane.drop(a=f"# Report\n\n{words}")
    settings = settings_by_corpus(lane.database, lane.settings)["handbook"]
    take_in(lane.database, open_inbox(settings), settings, corpus="handbook")
    lane.process()

    own, theirs = lane.dropped.documents()
    assert (own.corpus, theirs.corpus) == ("documents", "handbook")
    assert (own.key, theirs.key) == ("a.md", "a.md-2")
    assert (own.title, theirs.title) == ("Report", "Handbook")
    assert own.chunks == 1
    assert theirs.chunks is not None
    assert theirs.chunks > 2
    with lane.database.connect() as connection:
        table = documents_table(space_by_id(connection, 1, "small"))
        assert rows_by_scope(connection, table) == {"documents": 1, "handbook": theirs.chunks}
        assert unverified_by_scope(connection, table) == {}
        assert set(scope_revisions(connection, table)) == {"documents", "handbook"}

    lane.drop(b="A second one.")  # its scan does not withdraw the other inbox's file
    states = [document.state for document in lane.dropped.documents()]
    assert states == ["ready", "ready", "waiting"]
