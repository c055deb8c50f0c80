"""Each chunk is embedded below its document's title and headings; it is stored and shown alone."""

from __future__ import annotations

import pytest

from rag_assets.documents.model import Chunk, in_context
from rag_assets.embedding.batching import text_hash
from rag_assets_tests.documents.lane import (
    Lane,
    assert_all_is_right,
    assert_nothing_is_left_over,
    markdown,
    passage,
)


@pytest.mark.parametrize(
    ("title", "heading", "embedded"),
    [
        ("Report", ("Rivers", "Tagus"), "Report > Rivers > Tagus\n\nIt runs."),
        ("Rivers", ("rivers", "Tagus"), "Rivers > Tagus\n\nIt runs."),
        ("Report", (), "Report\n\nIt runs."),
        ("", (), "It runs."),
        ("x" * 900, ("y",), f"{'x' * 500}\n\nIt runs."),
    ],
)
def test_what_is_embedded_of_a_chunk(title: str, heading: tuple[str, ...], embedded: str) -> None:
    assert in_context(title, Chunk("It runs.", heading, None, 3)) == embedded


def test_chunks_are_embedded_in_context_and_stored_alone(lane: Lane) -> None:
    lane.drop(a=f"# Report\n\n{passage('sea')}\n\n## Tagus\n\n{passage('river')}")
    lane.process()
    rows = lane.sql("SELECT context, text, text_hash FROM document_chunks ORDER BY position")
    assert [row[0] for row in rows] == ["Report\n\n", "Report > Tagus\n\n"]
    for context, text, stored in rows:
        assert str(text).startswith(("# Report", "## Tagus"))
        assert stored == text_hash(f"{context}{text}")
    assert_all_is_right(lane)
    assert_nothing_is_left_over(lane)


def test_the_same_passage_under_another_title_is_another_text(lane: Lane) -> None:
    lane.drop(a=f"# One\n\n{passage('sea')}")
    lane.process()
    lane.emulator.reset()
    text = f"# Two\n\n{passage('sea')}"
    lane.drop(b=text)
    (outcome,) = lane.process(run_id="second").outcomes
    assert (outcome.embedded, outcome.reused) == (1, 0)
    lane.drop(c=text)
    (outcome,) = lane.process(run_id="third").outcomes
    assert (outcome.embedded, outcome.reused) == (0, 1)


def test_without_the_setting_the_text_alone_is_embedded_and_a_change_embeds_again(
    lane: Lane,
) -> None:
    lane.drop(a=markdown("sea", "river"))
    lane.process(rag_chunk_context=False)
    assert lane.sql("SELECT DISTINCT context FROM document_chunks") == [("",)]
    key = lane.key("a")
    (outcome,) = lane.process(run_id="second", keys=[key], rag_chunk_context=False).outcomes
    assert outcome.state == "unchanged"
    (outcome,) = lane.process(run_id="third", keys=[key]).outcomes
    assert (outcome.state, outcome.embedded) == ("ready", 2)
    assert_all_is_right(lane)
    assert_nothing_is_left_over(lane)


def test_a_row_of_the_program_before_hashes_its_text_alone(lane: Lane) -> None:
    lane.drop(a=markdown("sea"))
    lane.process()
    with lane.database.connect() as connection:
        connection.execute(
            """
            INSERT INTO document_chunks (document_id, position, heading, text, text_hash, tokens,
                                         language)
            SELECT document_id, 99, '{}', 'old', sha256('old'), 1, 'en' FROM documents
            """
        )
    ((context, stored),) = lane.sql(
        "SELECT context, text_hash FROM document_chunks WHERE text = 'old'"
    )
    assert (context, stored) == ("", text_hash("old"))
