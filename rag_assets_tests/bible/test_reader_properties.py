"""Properties that hold for every source, generated or mutilated."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_assets.bible.formats.passages import Passage, VerseNumber, parse_verse_number
from rag_assets.bible.formats.text import BOUNDARY, normalise
from rag_assets.bible.merge import merge
from rag_assets.bible.model import BibleText
from rag_assets.bible.reader import read_bible
from rag_assets.errors import CorpusError
from rag_assets_tests.bible import samples

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

MARKERS = [
    *["\\v 1 ", "\\v 2", "\\c 1\n", "\\c", "\\id EXO\n", "\\p\n", "\\q1 ", "\\f + ", "\\f*"],
    *[
        "\\ft ",
        "\\add ",
        "\\add*",
        "\\+nd ",
        "\\w a|x='y'\\w*",
        "|",
        "~",
        "//",
        "\\",
        "\\*",
        "text ",
    ],
    *[
        "\\tr ",
        "\\tc1 ",
        "\\vp 2\\vp*",
        "\\cp 3\n",
        "\\esb\n",
        "\\esbe\n",
        "\\zx ",
        "\n",
        "\\rem x\n",
    ],
    *["\\qt-s |a\\*", "\\fig a|b\\fig*", "\\periph x\n", "\\usfm 3.0\n"],
]

words = st.text(alphabet="abçãéÁ’“”,;.!?—()א字", min_size=1, max_size=8)
plain_texts = st.lists(words, min_size=1, max_size=6).map(" ".join)
numbers = st.builds(
    lambda start, more, segment: VerseNumber(start, start + more, segment),
    st.integers(1, 30),
    st.sampled_from([0, 0, 0, 1, 3]),
    st.sampled_from(["", "", "", "a", "b"]),
)
passages = st.builds(
    Passage, st.sampled_from(["GEN", "JUD", "TOB"]), st.integers(1, 3), numbers, st.just("") | words
)


def read_one(content: bytes) -> BibleText | None:
    """What a source says, or ``None`` when it is refused in the one way that is allowed."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "source").write_bytes(content)
        try:
            return read_bible(Path(folder))
        except CorpusError as error:
            refusal = error
    assert refusal.reason
    assert refusal.line is None or refusal.line >= 1
    return None


def is_sound(text: BibleText) -> bool:
    covered = [
        (verse.book, verse.chapter, number)
        for verse in text.verses
        for number in range(verse.verse, verse.verse_end + 1)
    ]
    return (
        text.reference_count >= len(set(covered)) >= len(text.verses)
        and len(covered) == len(set(covered))
        and all(verse.text == normalise(verse.text) != "" for verse in text.verses)
    )


@FAST
@given(st.lists(plain_texts, min_size=1, max_size=20))
def test_generated_usfm_verses_come_back_as_they_were(texts: list[str]) -> None:
    body = "".join(f"\\v {number} {text}\n" for number, text in enumerate(texts, 1))

    read = read_one(f"\\id GEN\n\\c 1\n\\p\n{body}".encode())

    assert read is not None
    assert [(verse.verse, verse.text) for verse in read.verses] == list(enumerate(texts, 1))


@FAST
@given(st.lists(passages, min_size=1, max_size=40))
def test_merged_verses_never_overlap_and_never_outnumber_their_references(
    printed: list[Passage],
) -> None:
    assert is_sound(merge("usfm", printed, []))


@FAST
@given(st.lists(passages, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_every_reference_counts_in_whatever_order_it_comes(
    printed: list[Passage], random: object
) -> None:
    backwards = merge("usfm", printed[::-1], [])

    assert backwards.reference_count == merge("usfm", printed, []).reference_count


@FAST
@given(st.text(alphabet=" \n\t\u00a0\x00\x07a.,;…é\u0301\ufeff"))
def test_normalising_twice_changes_nothing_more(raw: str) -> None:
    text = normalise(raw)

    assert normalise(text) == text
    assert BOUNDARY not in text
    assert "  " not in text


@FAST
@given(numbers)
def test_a_printed_verse_number_is_read_back(number: VerseNumber) -> None:
    end = f"-{number.end}" if number.end > number.start else ""

    assert parse_verse_number(f"{number.start}{number.segment}{end}") == number


@pytest.mark.parametrize("name", samples.SINGLE_FILES)
def test_a_source_cut_anywhere_is_read_or_refused(name: str) -> None:
    content = samples.SINGLE_FILES[name].encode()

    for length in range(0, len(content), 3):
        read = read_one(content[:length])
        assert read is None or is_sound(read)


@pytest.mark.parametrize("name", samples.SINGLE_FILES)
@FAST
@given(
    st.integers(0, 900),
    st.integers(0, 30),
    st.binary(max_size=6)
    | st.sampled_from([b"\\", b"\\f ", b"|", b"<", b"&", b'"', b"\xff", b"//"]),
)
def test_a_mutilated_source_is_read_or_refused(
    name: str, start: int, length: int, put: bytes
) -> None:
    content = samples.SINGLE_FILES[name].encode()

    read = read_one(content[:start] + put + content[start + length :])

    assert read is None or is_sound(read)


@settings(FAST, max_examples=150)
@given(
    st.lists(
        st.sampled_from(MARKERS),
        max_size=30,
    )
)
def test_any_sequence_of_usfm_markers_is_read_or_refused(markers: list[str]) -> None:
    read = read_one(f"\\id GEN\n\\c 1\n\\p\n\\v 1 a\n{''.join(markers)}".encode())

    assert read is None or is_sound(read)
