"""Documents read by an older version of the extraction are re-read, and stay searchable."""

from __future__ import annotations

import hashlib

import pytest

from rag_assets.documents.model import READER
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.lane import (
    Lane,
    assert_all_is_right,
    assert_nothing_is_left_over,
    markdown,
    passage,
)


def report(signs: str) -> bytes:
    """A Word file with two sections, each a chunk; ``signs`` stand in the second."""
    return office.docx(
        [(1, "Rivers"), (0, passage("river")), (1, "Hills"), (0, f"{signs}. {passage('hill')}")]
    )


def read_by_an_older_version(lane: Lane, path: str, content: bytes) -> None:
    """Give the document this file, with chunks as an older version would have read them."""
    file = lane.folder / path
    file.write_bytes(content)
    with lane.database.connect() as connection:
        connection.execute(
            """
            UPDATE documents SET chunking = 'v1' || substr(chunking, strpos(chunking, ':')),
                   content_hash = %(hash)s, stored_hash = %(hash)s, bytes = %(bytes)s
             WHERE path = %(path)s
            """,
            {"hash": hashlib.sha256(content).digest(), "bytes": len(content), "path": path},
        )


def served(lane: Lane) -> list[str]:
    """The searchable texts: those with a vector, of documents that are not withdrawn."""
    rows = lane.sql(
        """
        SELECT c.text FROM document_chunks c JOIN documents d USING (document_id)
          JOIN chunk_embeddings_s1 e USING (chunk_id)
         WHERE d.chunks > 0 AND d.state <> 'withdrawn' ORDER BY d.document_key, c.position
        """
    )
    return [str(text) for (text,) in rows]


def test_only_chunks_that_changed_by_re_reading_are_paid_for(lane: Lane) -> None:
    lane.dropped.drop("report.docx", report("RD at Smith  Sons"))
    lane.drop(other=markdown("sea"))
    lane.process()
    read_by_an_older_version(lane, "report.docx", report("R&D at Smith & Sons"))
    before = served(lane)
    unchanged = lane.sql("SELECT chunk_id FROM document_chunks WHERE text LIKE 'Rivers%'")
    lane.emulator.reset()

    intake = lane.dropped.scan()

    assert (intake.reread, intake.updated) == (1, 0)
    assert lane.states() == {"report": "waiting", "other": "ready"}
    assert served(lane) == before
    done = lane.process(run_id="second")
    (outcome,) = done.outcomes
    assert (outcome.state, outcome.embedded, outcome.reused) == ("ready", 1, 1)
    assert lane.emulator.stats().inputs_answered == 1
    assert [text for text in served(lane) if "R&D at Smith & Sons" in text]
    assert not [text for text in served(lane) if "RD at Smith" in text]
    assert lane.sql("SELECT chunk_id FROM document_chunks WHERE text LIKE 'Rivers%'") == unchanged
    assert_all_is_right(lane)
    assert_nothing_is_left_over(lane)
    assert lane.dropped.scan().reread == 0


def test_re_reading_an_unchanged_document_costs_nothing(lane: Lane) -> None:
    lane.dropped.drop("report.docx", report("Signs"))
    lane.dropped.scan()
    lane.process()
    read_by_an_older_version(lane, "report.docx", report("Signs"))
    before = served(lane)
    lane.emulator.reset()
    lane.dropped.scan()
    (outcome,) = lane.process(run_id="second").outcomes
    assert (outcome.state, outcome.embedded, outcome.reused) == ("ready", 0, 2)
    assert lane.emulator.stats().requests == 0
    assert served(lane) == before


def test_few_re_readings_wait_at_a_time_behind_new_documents(lane: Lane) -> None:
    lane.drop(**{f"old{number}": markdown(f"river{number}") for number in range(5)})
    lane.process()
    for number in range(5):
        read_by_an_older_version(lane, f"old{number}.md", markdown(f"river{number}").encode())
    few = lane.dropped.settings.model_copy(update={"rag_documents_per_tick": 2})
    small = Lane(type(lane.dropped)(lane.folder, lane.database, few), lane.emulator)
    assert small.dropped.scan().reread == 2
    assert small.dropped.scan().reread == 0
    small.drop(new=markdown("sea"))
    assert small.process(run_id="second", rag_documents_per_run=1).states() == {
        lane.key("new"): "ready"
    }
    scans = 0
    while small.dropped.scan().changed or "waiting" in small.states().values():
        small.process(run_id=f"scan {scans}")
        scans += 1
        assert scans < 9
    labels = lane.sql("SELECT DISTINCT split_part(chunking, ':', 1) FROM documents")
    assert labels == [(READER,)]
    assert len(served(lane)) == 6


def test_a_document_that_can_no_longer_be_read_stays_searchable_with_the_reason(lane: Lane) -> None:
    lane.dropped.drop("report.docx", report("Signs"))
    lane.dropped.scan()
    lane.process()
    before = served(lane)
    read_by_an_older_version(lane, "report.docx", report("Signs")[:900])
    lane.dropped.scan()
    lane.process(run_id="second")
    assert lane.states() == {"report": "dead"}
    ((error,),) = lane.sql("SELECT error FROM documents")
    assert "cut off or damaged" in str(error)
    assert served(lane) == before
    assert lane.dropped.scan().reread == 0


@pytest.mark.parametrize("label", ["v1: 512 tokens", "v10: 512 tokens", "v9: 512 tokens"])
def test_documents_of_a_newer_version_are_re_read_after_a_downgrade(lane: Lane, label: str) -> None:
    lane.drop(a=markdown("river"))
    lane.process()
    with lane.database.connect() as connection:
        connection.execute("UPDATE documents SET chunking = %s", (label,))
    assert lane.dropped.scan().reread == 1


def test_the_documents_of_an_older_version_are_found_by_their_index(lane: Lane) -> None:
    lane.drop(a=markdown("river"))
    lane.process()
    with lane.database.connect() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT document_id FROM documents WHERE state = 'ready' AND"
            " (split_part(chunking, ':', 1) < 'v3' OR split_part(chunking, ':', 1) > 'v3')"
        ).fetchall()
    assert "documents_ready_reader" in str(plan)
