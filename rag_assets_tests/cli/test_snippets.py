"""What a list of hits shows of a long passage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.cli.snippets import snippet

PASSAGE = (
    "The library lends tools the way other libraries lend books. A loan lasts seven days and "
    "can be renewed once. The repair bench is open on Wednesday evenings; a ferramenta do "
    "órgão é afiada lá. Blades are sharpened there, and cords are tested by a volunteer."
)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("how long does a loan last", "… lend books. A loan lasts seven days and can be …"),
        ("LOANS", "… libraries lend books. A loan lasts seven days and can …"),
        ("sharpening blades", "… do órgão é afiada lá. Blades are sharpened there, and …"),
        ("orgao", "… a ferramenta do órgão é afiada lá. Blades are …"),
        ("volunteer", "… sharpened there, and cords are tested by a volunteer."),
        ("spaceship", "The library lends tools the way other libraries lend …"),
        ("a of on", "The library lends tools the way other libraries lend …"),
        ("", "The library lends tools the way other libraries lend …"),
    ],
)
def test_the_part_with_the_words_of_the_query_is_shown(query: str, shown: str) -> None:
    assert snippet(PASSAGE, query, 60) == shown


def test_a_short_passage_is_whole_and_one_line() -> None:
    assert snippet("Grease the bearings\n  every month.", "pump") == (
        "Grease the bearings every month."
    )


def test_a_text_without_gaps_is_cut_all_the_same() -> None:
    shown = snippet("字" * 1000, "字")
    assert shown.endswith("字 …")
    assert 100 < len(shown) <= 240


@given(
    st.text(st.sampled_from("ab é\n."), min_size=30, max_size=400),
    st.text(st.sampled_from("abé ."), max_size=30),
)
def test_a_snippet_is_a_bounded_part_of_the_passage(text: str, query: str) -> None:
    shown = snippet(text, query, 80)
    whole = " ".join(text.split())
    part = shown.removeprefix("… ").removesuffix(" …")
    assert len(shown) <= 80
    assert part in whole
    assert shown.startswith("… ") or whole.startswith(part)
    assert shown.endswith(" …") or whole.endswith(part)
    if max(map(len, whole.split()), default=0) <= 60:
        assert f" {part} " in f" {whole} "
