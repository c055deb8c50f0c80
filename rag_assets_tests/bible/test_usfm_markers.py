"""What the parser would swallow in silence is refused, with the line and how to close it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rag_assets.bible.formats.usfm import read_usfm
from rag_assets.bible.reader import read_bible
from rag_assets.errors import CorpusError
from rag_assets_tests.conftest import SHARED_CASES

HEAD = "\\id GEN\n\\c 1\n\\p\n"
TAIL = "\n\\v 2 Two.\n\\p\n\\v 3 Three.\n\\c 2\n\\p\n\\v 1 Four.\n"


def refusal(body: str) -> str:
    """Why a file with this first verse is refused."""
    with pytest.raises(CorpusError) as caught:
        read_usfm(Path("gen.usfm"), (HEAD + body + TAIL).encode())
    return str(caught.value)


@pytest.mark.parametrize("name", ["f", "fe", "ef", "efe", "x", "ex", "fig"])
@pytest.mark.parametrize("other", ["f", "fe", "ef", "efe", "x", "ex", "fig"])
def test_a_note_ends_by_its_own_marker_only(name: str, other: str) -> None:
    body = rf"\v 1 a \{name} + b\{other}* c"
    if name == other:
        source = read_usfm(Path("gen.usfm"), (HEAD + body + TAIL).encode())
        assert [passage.text for passage in source.passages] == ["a c", "Two.", "Three.", "Four."]
    else:
        expected = rf"gen.usfm:4: \{name} is closed by \{other}*: close it with \{name}*"
        assert refusal(body) == expected


@pytest.mark.parametrize("name", ["rq", "pro", "vp", "va", "ca", "cat", "fm", "efm", "xt", "ior"])
def test_a_span_that_is_no_verse_text_ends_in_its_verse(name: str) -> None:
    open_one = refusal(rf"\v 1 a \{name} b c")
    assert open_one.startswith(rf"gen.usfm:4: \{name} is not closed (cut off?): close it with ")
    assert rf"\{name} is closed by \qs*" in refusal(rf"\v 1 a \{name} b\qs* c")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (r"\v 1 a \w b|lemma c d", r"4: \w is not closed (cut off?): close it with \w*"),
        (r"\v 1 a \rb BB|g b", r"4: \rb is not closed (cut off?): close it with \rb*"),
        (r"\v 1 a \qt-s |Pilate b c", r"4: \qt-s is not closed (cut off?): close it with \*"),
        (r"\v 1 a | b c", "4: a | in the text, after which the rest of the line would be lost"),
        ("\\v 1 a\n\\esb\n\\p side", "7: this verse is lost in markup that is not closed before"),
        (r"\v 1 a \f + \ft b \x - \xt c\x* d\f* e", r"4: \f is not closed (cut off?)"),
    ],
)
def test_attributes_sidebars_and_notes_in_notes(body: str, reason: str) -> None:
    assert f"gen.usfm:{reason}" in refusal(body)


def test_a_span_whose_text_is_kept_is_read_and_reported() -> None:
    source = read_usfm(Path("gen.usfm"), (HEAD + r"\v 1 a \add b\nd* c" + TAIL).encode())
    assert source.passages[0].text == "a b c"
    assert "line 4: Closing 'nd' with no corresponding opening" in [
        oddity.detail for oddity in source.oddities
    ]


def test_what_is_open_in_a_heading_takes_no_verse_along() -> None:
    body = "\\s A heading \\xt Mat 1:1\n\\p\n\\v 1 a"
    source = read_usfm(Path("gen.usfm"), (HEAD + body + TAIL).encode())
    assert [passage.text for passage in source.passages] == ["a", "Two.", "Three.", "Four."]


CASES: dict[str, list[str] | str] = {
    "note_closed_by_other_marker": r"ISA.usfm:7: \fe is closed by \f*",
    "xref_closed_by_footnote_marker": r"a.usfm:6: \x is closed by \f*",
    "verse_text_on_next_line_ellipsis": ["One.", "... and then he went.", "Three."],
    "verse_text_on_next_line_comma": ["One", "! Woe"],
    "figure_in_footnote": ["the first verse ends.", "Two."],
}


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases(name: str) -> None:
    folder = SHARED_CASES / "bible" / name
    if not folder.exists():
        pytest.skip("the shared cases are not on this machine")
    wanted = CASES[name]
    if isinstance(wanted, str):
        with pytest.raises(CorpusError, match=re.escape(wanted)):
            read_bible(folder)
    else:
        assert [verse.text for verse in read_bible(folder).verses] == wanted
