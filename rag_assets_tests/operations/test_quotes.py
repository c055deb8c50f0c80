"""Quotes are found as they are written in logs, tables and JSON, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.operations.quotes import SHORTEST, STRIDE, WINDOW, Quotes

TEXT = "The ferryman said: “Olá, irmão! Carry the brass lantern over the frozen river tonight.”"
LETTERS = "The ferryman said Olá irmão Carry the brass lantern over the frozen river tonight"


@pytest.mark.parametrize(
    "written",
    [
        TEXT,
        TEXT.upper(),
        TEXT.replace(" ", "\n"),
        json.dumps({"message": f"failed: {TEXT}"}),
        json.dumps([json.dumps({"inner": TEXT})]),
        repr(TEXT.encode())[2:-1].replace("\\x", " ")[60:],
        TEXT[20:60],
    ],
)
def test_a_quote_is_found_however_it_is_written(written: str) -> None:
    masked = Quotes([TEXT]).masked(written)
    assert masked is not None
    assert "lantern" not in masked.casefold()
    assert len(masked.encode()) == len(written.encode())


def test_what_is_around_a_quote_stays_and_json_stays_json() -> None:
    event = {"before": "The ferryman", "quote": TEXT, "after": ["over the frozen", "river tonight"]}
    masked = Quotes([TEXT]).masked(json.dumps(event))
    assert masked is not None
    read = json.loads(masked)
    assert read.keys() == event.keys()
    assert (read["before"], read["after"]) == (event["before"], event["after"])
    assert set(read["quote"]) <= {"*", "”", ".", '"'}


@given(st.integers(0, 60), st.integers(WINDOW + STRIDE - 1, 70))
def test_every_part_that_is_long_enough_is_found_wholly(start: int, length: int) -> None:
    letters = "".join(filter(str.isalnum, LETTERS))
    part = letters[start : start + length]
    masked = Quotes([TEXT]).masked(f"<<{part}>>")
    if len(part) >= WINDOW + STRIDE - 1:
        assert masked is not None
        assert set(masked) == set("<>*")


def test_a_short_text_is_found_whole_and_a_very_short_one_is_not() -> None:
    short = "a" * (SHORTEST - 8) + " wept aloud"
    assert Quotes([short]).masked(f"he {short}.") == f"he {'*' * len(short)}."
    assert Quotes(["He wept."]).masked("and he wept.") is None
    assert Quotes([TEXT]).masked("The ferryman said nothing of the kind over the river.") is None
