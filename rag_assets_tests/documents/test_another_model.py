"""Documents of a previous model: the backfill requeues them, and a run embeds stored chunks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rag_assets.operations.backfill_documents import requeue_documents
from rag_assets.operations.windows import Window
from rag_assets_tests.documents.lane import Lane, markdown


def test_documents_get_vectors_of_another_model_once_without_being_re_read(lane: Lane) -> None:
    lane.drop(one=markdown("river"), two=markdown("hill"))
    assert lane.process().summary is not None
    other = {"rag_embedding_small_dimensions": 16}
    settings = lane.settings.model_copy(update=other)
    now = datetime.now(UTC) + timedelta(seconds=1)
    window = Window(now, now + timedelta(hours=6))
    (lane.folder / "two.md").write_text("# What nobody reads\n", encoding="utf-8")
    with lane.database.connect(autocommit=True) as connection:
        assert requeue_documents(connection, settings, window, usd=5) == (2, 0)
    assert lane.states() == {"one": "waiting", "two": "waiting"}
    lane.process(**other)
    assert lane.states() == {"one": "ready", "two": "ready"}
    old = lane.sql("SELECT count(*), count(DISTINCT document_id) FROM chunk_embeddings_s1")
    new = lane.sql("SELECT count(*), count(DISTINCT document_id) FROM chunk_embeddings_s2")
    assert old == new == [(new[0][0], 2)]
    assert lane.sql("SELECT count(*) FROM document_chunks WHERE text LIKE '%nobody reads%'") == [
        (0,)
    ]
    later = Window(now + timedelta(days=1), now + timedelta(days=1, hours=6))
    with lane.database.connect(autocommit=True) as connection:
        assert requeue_documents(connection, settings, later, usd=5) == (0, 0)
