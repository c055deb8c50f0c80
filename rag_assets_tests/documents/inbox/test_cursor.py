"""A cursor survives serialization, and holds for a limited time."""

from __future__ import annotations

import pytest

from rag_assets.documents.inbox.changes import Cursor

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize("digest", ["", DIGEST])
def test_a_cursor_is_read_as_it_was_written(digest: str) -> None:
    cursor = Cursor(digest, 1_700_000_000, 42)
    assert Cursor.read(str(cursor)) == cursor


@pytest.mark.parametrize("text", [None, "", "x", DIGEST, f"{DIGEST}@1", "@-1@2", f"{DIGEST}@1@2@3"])
def test_an_invalid_cursor_is_empty(text: str | None) -> None:
    assert Cursor.read(text) == Cursor()


@pytest.mark.parametrize(
    ("digest", "now", "holds"),
    [
        (DIGEST, 100, True),
        (DIGEST, 699.9, True),
        (DIGEST, 700, False),
        (DIGEST, 99, False),  # a clock that was set back
        ("another", 100, False),
        ("", 100, False),
    ],
)
def test_a_cursor_holds_while_the_listing_is_unchanged_and_for_a_while(
    digest: str, now: float, holds: bool
) -> None:
    assert Cursor(DIGEST, 100, 1).still_holds(digest, now, for_s=600) is holds


def test_a_cursor_of_an_incomplete_scan_never_holds() -> None:
    assert not Cursor("", 100, 1).still_holds("", 100, for_s=600)
