"""Chunks: none too large, nothing lost, natural boundaries, and stable under changes."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_assets.documents.chunking import chunked
from rag_assets.documents.formats.lines import read_markdown, read_plain
from rag_assets.documents.model import Chunk
from rag_assets.documents.tokens import count_tokens

_WORDS = (
    "river house light garden table window morning paper stone bread music winter road friend "
    "água caminho cidade livro noite pedra jardim"
)
WORDS = _WORDS.split()


def chunks_of(text: str, most: int = 100, overlap: int = 0) -> list[Chunk]:
    return list(chunked(read_markdown(text).blocks, most=most, overlap=overlap))


def sentences(count: int, seed: int = 1) -> str:
    chance = random.Random(seed)
    return " ".join(
        " ".join(chance.choices(WORDS, k=chance.randint(4, 12))).capitalize() + "."
        for _ in range(count)
    )


def paragraphs(count: int, seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [sentences(chance.randint(1, 6), seed=seed * 1000 + place) for place in range(count)]


def test_a_small_document_is_one_chunk_as_it_is_written() -> None:
    text = "# Title\n\nFirst passage.\n\n## Part\n\nSecond passage."
    assert chunks_of(text) == [Chunk(text, ("Title",), None, count_tokens(text))]


def test_sections_that_do_not_fit_together_are_cut_at_their_headings() -> None:
    text = "\n\n".join(f"## Part {place}\n\n{sentences(5, place)}" for place in range(4))
    found = chunks_of("# Title\n\n" + text)
    assert [chunk.heading for chunk in found] == [("Title", f"Part {place}") for place in range(4)]
    assert found[0].text.startswith("# Title\n\n## Part 0\n\n")
    assert all(chunk.text.startswith("## Part") for chunk in found[1:])


def test_small_sections_stand_together_under_what_they_share() -> None:
    text = "# A\n\n## A1\n\nshort\n\n## A2\n\nshort, too\n\n# B\n\n" + sentences(12)
    found = chunks_of(text)
    assert found[0].heading == ("A",)
    assert "A1" in found[0].text
    assert "A2" in found[0].text
    assert found[1].heading == ("B",)


def test_what_shares_no_heading_stands_under_none() -> None:
    (chunk,) = chunks_of("# A\n\nshort\n\n# B\n\nshort")
    assert chunk.heading == ()


def test_a_heading_stands_with_what_follows_it() -> None:
    long = sentences(60)
    found = chunks_of(f"# Title\n\n## Part\n\n{long}")
    assert found[0].text.startswith("# Title\n\n## Part\n\n")
    assert {chunk.heading for chunk in found} == {("Title", "Part")}


def test_the_path_follows_the_levels() -> None:
    text = "".join(
        f"{'#' * level} {name}\n\n{sentences(5, seed)}\n\n"
        for seed, (level, name) in enumerate(
            [(1, "A"), (3, "A.x"), (2, "A.b"), (3, "A.b.y"), (1, "B")]
        )
    )
    assert [chunk.heading for chunk in chunks_of(text)] == [
        ("A",),
        ("A", "A.x"),
        ("A", "A.b"),
        ("A", "A.b", "A.b.y"),
        ("B",),
    ]


def test_a_long_section_is_cut_between_paragraphs() -> None:
    whole = paragraphs(60)
    found = chunks_of("\n\n".join(whole), most=300)
    assert len(found) > 5
    kept = [part for chunk in found for part in chunk.text.split("\n\n")]
    assert kept == whole


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    found = chunks_of(sentences(100))
    assert len(found) > 5
    assert all(chunk.text.endswith(".") for chunk in found)
    assert " ".join(chunk.text for chunk in found) == sentences(100)


def test_chunks_of_a_long_section_overlap_by_whole_sentences() -> None:
    found = chunks_of(sentences(100), overlap=30)
    for before, after in pairwise(found):
        repeated = next(
            after.text[:end]
            for end in range(len(after.text), 0, -1)
            if before.text.endswith(after.text[:end])
        )
        assert repeated.endswith(".")
        assert 0 < count_tokens(repeated) <= 30


def test_sections_do_not_overlap() -> None:
    text = "\n\n".join(f"## Part {place}\n\n{sentences(5, place)}" for place in range(4))
    assert chunks_of(text, overlap=30) == chunks_of(text, overlap=0)


SCRIPTS = {
    "Portuguese": "Não há ninguém à mão, são três irmãs e um avô. ",
    "Japanese": "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "Chinese": "道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. ",
    "Arabic": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. ",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में स्वतन्त्रता प्राप्त है। ",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "emoji": "👨‍👩‍👧🎉🇧🇷",
    "one word": "abcdefghij",
    "signs": "!?#*",
    "blanks": "a" + " " * 50,
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("overlap", [0, 20])
def test_any_script_is_cut_to_size(script: str, overlap: int) -> None:
    text = SCRIPTS[script] * 150
    found = list(chunked(read_plain(text).blocks, most=100, overlap=overlap))
    assert len(found) > 2
    assert all(0 < chunk.tokens <= 100 for chunk in found)
    assert all(chunk.tokens == count_tokens(chunk.text) for chunk in found)
    assert all(chunk.text.strip() for chunk in found)
    if not overlap:
        whole = "".join(chunk.text for chunk in found)
        assert re.sub(r"\s", "", whole) == re.sub(r"\s", "", text)


BLOCKS = st.lists(
    st.one_of(
        st.builds(
            lambda level, n: f"{'#' * level} {WORDS[n]}", st.integers(1, 4), st.integers(0, 9)
        ),
        st.builds(sentences, st.integers(1, 30), st.integers(0, 99)),
        st.just("```\n# code\n\n    indented = 1\n```"),
        st.text(max_size=200),
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(BLOCKS, st.integers(16, 200), st.integers(0, 8))
def test_nothing_is_lost_and_nothing_is_too_large(
    blocks: list[str], most: int, overlap: int
) -> None:
    read = read_plain("\n\n".join(blocks)).blocks
    found = list(chunked(read, most=most, overlap=overlap))
    assert all(chunk.tokens == count_tokens(chunk.text) <= most for chunk in found)
    assert all(chunk.text.strip() for chunk in found)
    if overlap == 0:
        written = "".join(block.text for block in read)
        kept = "".join(chunk.text for chunk in found)
        assert re.sub(r"\s", "", kept) == re.sub(r"\s", "", written)


@pytest.mark.parametrize("place", [0, 60, 119])
def test_a_changed_paragraph_changes_the_chunks_around_it_only(place: int) -> None:
    whole = paragraphs(120)
    before = {chunk.text for chunk in chunks_of("\n\n".join(whole), overlap=10)}
    whole[place] = sentences(5, seed=77)
    after = [chunk.text for chunk in chunks_of("\n\n".join(whole), overlap=10)]
    assert len(after) > 25
    assert sum(text not in before for text in after) <= 6


@pytest.mark.parametrize("place", [0, 60])
def test_a_paragraph_put_in_leaves_what_is_far_behind_it(place: int) -> None:
    whole = paragraphs(120)
    before = {chunk.text for chunk in chunks_of("\n\n".join(whole))}
    whole.insert(place, sentences(5, seed=77))
    after = [chunk.text for chunk in chunks_of("\n\n".join(whole))]
    assert sum(text not in before for text in after) <= 8


def test_cutting_up_again_gives_the_same() -> None:
    text = "\n\n".join(paragraphs(60))
    assert chunks_of(text) == chunks_of(text)
