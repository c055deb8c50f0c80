"""The shared real documents through the whole lane: good, bad, repeated, and a very large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.lanes import LARGE
from rag_assets_tests.conftest import SHARED_DATA
from rag_assets_tests.documents.dropped import Dropped
from rag_assets_tests.documents.lane import (
    Lane,
    assert_all_is_right,
    assert_nothing_is_left_over,
)

pytestmark = pytest.mark.long

DOCUMENTS = SHARED_DATA / "documents"
NOVELS = "large/ten-novels.md"
BAD = {
    "bad/empty.md": "EmptyDocumentError",
    "bad/whitespace-only.txt": "EmptyDocumentError",
    "bad/image-only.pdf": "NoTextError",
    "bad/truncated.pdf": "CorruptDocumentError",
    "bad/encrypted.pdf": "EncryptedDocumentError",
}
COPIES = {
    "duplicates/five-whys-copy.md": "markdown/18f-five-whys.md",
    "duplicates/ssh-anotações.txt": "markdown/tldr-ssh.md",
    "duplicates/18f-method-cards-instructions (1).pdf": "pdf/18f-method-cards-instructions.pdf",
}


@pytest.fixture
def real(lane: Lane) -> Lane:
    """The shared documents as the inbox; they are only read."""
    if not DOCUMENTS.is_dir():
        pytest.skip("the shared documents are not on this machine")
    settings = lane.settings.model_copy(update={"rag_documents_url": str(DOCUMENTS)})
    dropped = Dropped(Path(DOCUMENTS), lane.database, settings)
    dropped.scan()
    return Lane(dropped, lane.emulator)


def test_each_real_document_has_the_expected_outcome(real: Lane) -> None:
    assert real.sql("SELECT path FROM documents WHERE lane = 'rag_large_docs'") == [(NOVELS,)]
    real.process()
    assert dict(real.sql("SELECT path, error_class FROM rag_dlq")) == BAD
    assert dict(real.sql("SELECT path, state FROM documents WHERE state NOT IN ('ready', 'dead')"))\
        == {NOVELS: "waiting"}  # fmt: skip
    assert real.emulator.stats().duplicate_answers == 0
    texts = "SELECT array_agg(text ORDER BY position) FROM document_chunks WHERE document_id ="
    for copy, original in COPIES.items():
        found = [
            real.sql(f"{texts} (SELECT document_id FROM documents WHERE path = '{path}')")  # noqa: S608
            for path in (copy, original)
        ]
        assert found[0][0][0]
        if not copy.endswith(".txt"):  # the same bytes as plain text are cut at other places
            assert found[0] == found[1]
    languages = dict(real.sql("SELECT path, language FROM documents WHERE state = 'ready'"))
    assert languages["markdown/18f-participant-agreement-spanish.md"] == "es"
    assert languages["markdown/CONTRIBUTING-pt_BR.md"] == "pt"
    assert_all_is_right(real)


def test_the_novels_go_through_their_own_lane(real: Lane) -> None:
    done = real.process(lane=LARGE)
    (novels,) = done.outcomes
    assert novels.state == "ready"
    assert novels.chunks > 5000
    assert novels.embedded + novels.reused == novels.chunks
    with real.database.connect() as connection:
        connection.execute("DELETE FROM documents WHERE state = 'waiting'")
    assert_nothing_is_left_over(real)
    again = real.process(lane=LARGE, run_id="second", keys=[novels.key])
    assert again.outcomes[0].state == "unchanged"
