"""Text by others does nothing to a terminal, and is one line of a log."""

from __future__ import annotations

import io
import json
import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rag_assets.visible import LineFormatter, reworded, visible, visible_json, visible_lines

ANY_TEXT = st.text(st.characters())
"""Halves of surrogate pairs, too, as names of files may hold."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ação, 摩西 and 👋🏽", "Ação, 摩西 and 👋🏽"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe\u2066", r"\u202egpj.exe\u2066"),
        ("a\u2028b\u0085c", r"a\u2028b\x85c"),
        ("caf\udce9", r"caf\udce9"),
        ("\u05d0\u200f", "\u05d0\u200f"),  # a mark that belongs to a script stays
    ],
)
def test_what_acts_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(ANY_TEXT)
def test_one_line_that_moves_nothing_and_can_be_written(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cs", "Zl", "Zp"}
    shown.encode()
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


@given(st.lists(ANY_TEXT, min_size=1))
def test_lines_stay_lines(lines: list[str]) -> None:
    assert visible_lines("\n".join(map(visible, lines))).split("\n") == list(map(visible, lines))


@given(st.dictionaries(ANY_TEXT, ANY_TEXT))
def test_json_means_the_same_afterwards(value: dict[str, str]) -> None:
    for indent in (None, 2):
        document = visible_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(document) == value
        assert visible_lines(document) == document


def test_a_record_is_one_line_and_a_trace_cannot_look_like_one() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LineFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("a test")
    logger.addHandler(handler)
    try:
        raise ValueError("no\nINFO all is well\x1b[2K")
    except ValueError:
        logger.exception("%s cannot be read", "a\nINFO b\x1b[31m")
    first, *trace = written.getvalue().splitlines()
    assert first == r"ERROR a\nINFO b\x1b[31m cannot be read"
    assert [line for line in trace if not line.startswith("  ")] == []
    assert r"INFO all is well\x1b[2K" in trace[-1]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"whole": "a"}, "must be an integer"),
        ({"whole": 1.5}, "must be an integer"),
        ({"number": "a"}, "must be a number"),
        ({"number": 0}, "must be greater than 0"),
        ({"whole": 0}, "must be at least 1"),
        ({"whole": 3}, "must be at most 2"),
        ({"words": "no"}, "'no' is not a word"),
        ({"names": ["a", "b"]}, "must have at most 1 item after validation, not 2"),
        ({"other": 1}, "is unknown"),
    ],
)
def test_validation_errors_are_in_plain_words(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        _Options(**given)  # type: ignore[arg-type]
    (fault,) = raised.value.errors()
    assert reworded(fault["msg"]) == words


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    whole: int = Field(1, ge=1, le=2)
    number: float = Field(1, gt=0)
    names: list[str] = Field(default_factory=list, max_length=1)
    words: str = ""

    @field_validator("words")
    @classmethod
    def _is_a_word(cls, given: str) -> str:
        raise ValueError(f"{given!r} is not a word")
