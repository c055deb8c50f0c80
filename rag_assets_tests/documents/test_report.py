"""A document's report: how much text there is and what is not in it, wherever it is asked for."""

from __future__ import annotations

from rag_assets.api.document_models import DocumentModel
from rag_assets.documents.model import UNREADABLE_CHARACTER, Remark
from rag_assets.documents.report import report_of
from rag_assets.documents.sql.documents import Document, find_document
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets_tests.documents.lane import Lane

PAGE = "<title>Rivers</title><p>The Tagus runs to the sea.<p hidden>Secret words</p><nav>Home</nav>"
HIDDEN = Remark("left_out", "hidden element", 1, ("Secret words",))
NAVIGATION = Remark("left_out", "navigation", 1, ("Home",))


def stored(lane: Lane, key: str) -> Document:
    with lane.database.connect() as connection:
        document = find_document(connection, key)
    assert document is not None
    return document


def test_what_was_left_out_is_stored_and_told_in_the_outcome(lane: Lane) -> None:
    lane.dropped.drop("rivers.html", PAGE)
    lane.dropped.scan()
    (outcome,) = lane.process().outcomes
    assert outcome.remarks == (HIDDEN, NAVIGATION)
    assert outcome.characters == len("The Tagus runs to the sea.")
    report = report_of(stored(lane, outcome.key))
    assert report is not None
    assert (report.pages, report.passages, report.characters) == (None, 1, 26)
    assert (report.left_out, report.repaired, report.lost) == ((HIDDEN, NAVIGATION), (), ())


def test_characters_that_cannot_be_read_are_counted_as_replaced_and_lost(lane: Lane) -> None:
    lane.dropped.drop("rivers.md", "O rio não pára".encode() + b" \x9d \x93 \x81.")
    lane.dropped.scan()
    (outcome,) = lane.process().outcomes
    report = report_of(stored(lane, outcome.key))
    assert report is not None
    assert report.replaced_characters == 2
    assert report.lost == (Remark("lost", UNREADABLE_CHARACTER, 2),)
    assert [(one.what, one.count) for one in report.repaired] == [
        ("byte that is not UTF-8, read as cp1252", 1)
    ]


def test_a_report_is_kept_when_a_withdrawn_document_comes_back_without_being_read(
    lane: Lane,
) -> None:
    lane.dropped.drop("rivers.html", PAGE)
    lane.dropped.scan()
    (outcome,) = lane.process().outcomes
    with lane.database.connect() as connection:
        withdraw(connection, [outcome.key], by="command")
    (lane.folder / "rivers.html").unlink()
    lane.dropped.scan()
    lane.dropped.drop("rivers.html", PAGE)
    lane.dropped.scan()
    lane.process(run_id="second")
    report = report_of(stored(lane, outcome.key))
    assert report is not None
    assert report.characters == 26
    assert report.left_out == (HIDDEN, NAVIGATION)


def test_the_api_shows_the_report_and_none_for_what_an_older_version_has_read(lane: Lane) -> None:
    lane.dropped.drop("rivers.html", PAGE)
    lane.dropped.scan()
    (outcome,) = lane.process().outcomes
    shown = DocumentModel.of(stored(lane, outcome.key)).report
    assert shown is not None
    assert [(one.what, one.examples) for one in shown.left_out] == [
        ("hidden element", ["Secret words"]),
        ("navigation", ["Home"]),
    ]
    with lane.database.connect() as connection:
        connection.execute("UPDATE documents SET characters = NULL, remarks = NULL")
    assert DocumentModel.of(stored(lane, outcome.key)).report is None
