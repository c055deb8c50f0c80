"""What hits show of their passages: the part that matches, its words marked as they are found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.postgres.database import Database
from rag_assets.retrieval.rendering import rendered
from rag_assets.retrieval.snippets import Words, likely, marked, of_query, same, snippet
from rag_assets.retrieval.sql.full_text import word_forms

PASSAGE = (
    "The library lends tools the way other libraries lend books. A loan lasts seven days and "
    "can be renewed once. The repair bench is open on Wednesday evenings; a ferramenta do "
    "órgão é afiada lá. Blades are sharpened there, and cords are tested by a volunteer."
)


@pytest.fixture(scope="module")
def words_of(template_database: Database):  # type: ignore[no-untyped-def]
    """The words of a text that are a query's, as the database folds them."""
    with template_database.connect(autocommit=True) as connection:

        def common(query: str, text: str, language: str) -> Words:
            asked = of_query(query)
            words = likely(asked, text, language)
            found = word_forms(connection, [(language, word) for word in asked | words])
            return same(asked, words, {word: forms for (_, word), forms in found.items()})

        yield common


def shown(text: str, words: Words, length: int) -> str:
    return "".join(part.text for part in snippet(text, words, length))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("how long does a loan last", "… lend books. A loan lasts seven days and can be …"),
        ("LOANS", "… libraries lend books. A loan lasts seven days and can …"),
        ("sharpening blades", "… é afiada lá. Blades are sharpened there, and cords …"),
        ("orgao", "… a ferramenta do órgão é afiada lá. Blades are …"),
        ("volunteer", "… sharpened there, and cords are tested by a volunteer."),
        ("spaceship", "The library lends tools the way other libraries lend …"),
        ("a of on", "The library lends tools the way other libraries lend …"),
        ("", "The library lends tools the way other libraries lend …"),
    ],
)
def test_the_part_with_the_words_of_the_query_is_shown(
    words_of,  # type: ignore[no-untyped-def]
    query: str,
    expected: str,
) -> None:
    assert shown(PASSAGE, words_of(query, PASSAGE, "en"), 60) == expected


@pytest.mark.parametrize(
    ("language", "query", "text", "expected"),
    [
        ("en", "dying fishes", "He must die; the FISH died.", ["die", "FISH", "died"]),
        ("en", "the of and", "The house of the king", []),
        ("en", "well-known", "a known well", ["known", "well"]),
        ("pt", "coracao peixes", "O coração e o peixe, CORAÇÕES", ["coração", "peixe"]),
        ("pt", "coração", "o cora\u0063\u0327a\u0303o", ["cora\u0063\u0327a\u0303o"]),
        ("de", "strasse haus", "Die Straße der Häuser", ["Straße", "Häuser"]),
        ("zh", "摩西", "耶和华对摩西说,摩与西", ["摩西"]),
        ("zh", "耶和华", "耶和华对摩西说", ["耶和华"]),
        ("zh", "西", "摩西说", ["西"]),
        ("id", "lihat", "mereka melihat dia", ["melihat"]),
        ("und", "Pumpe", "pumpe pumpen", ["pumpe"]),
    ],
)
def test_words_are_marked_as_full_text_search_finds_them(
    words_of,  # type: ignore[no-untyped-def]
    language: str,
    query: str,
    text: str,
    expected: list[str],
) -> None:
    parts = marked(text, words_of(query, text, language))
    assert [part.text for part in parts if part.match] == expected
    assert "".join(part.text for part in parts) == text


def test_a_text_without_gaps_is_cut_all_the_same() -> None:
    cut = shown("字" * 1000, {"字": "字"}, 240)
    assert cut.endswith("字 …")
    assert 100 < len(cut) <= 240


@given(
    st.text(st.sampled_from("ab é\n."), min_size=30, max_size=400),
    st.sets(st.text(st.sampled_from("abé"), min_size=1, max_size=3)),
)
def test_a_snippet_is_a_bounded_part_of_the_passage(text: str, words: set[str]) -> None:
    cut = shown(text, {word: word for word in words}, 80)
    whole = " ".join(text.split())
    part = cut.removeprefix("… ").removesuffix(" …")
    assert len(cut) <= 80
    assert part in whole
    assert cut.startswith("… ") or whole.startswith(part)
    assert cut.endswith(" …") or whole.endswith(part)
    if max(map(len, whole.split()), default=0) <= 60:
        assert f" {part} " in f" {whole} "


HOSTILE = """# A *title*

<script>alert(1)</script> <img src=x onerror=alert(1)> **fish** &amp; `code <b>`
[click](javascript:alert(1)) [site](https://example.org "t") ![a fish](data:image/png;base64,AA)

| a | b |
|---|---|
| fish | 2 |

[ref]: https://example.org/ref

- one
  1. two

> said

    pre <i>
"""


def test_a_passage_becomes_elements_and_never_html() -> None:
    elements = rendered(HOSTILE, {"fish": "fish"}, markdown=True)
    depth: list[str | None] = []
    for element in elements:
        if element.kind == "open":
            depth.append(element.tag)
        elif element.kind == "close":
            assert depth.pop() == element.tag
    assert depth == []
    tags = {element.tag for element in elements if element.kind == "open"}
    assert tags >= {
        "p",
        "strong",
        "em",
        "code",
        "table",
        "th",
        "td",
        "ul",
        "ol",
        "blockquote",
        "pre",
    }
    text = "".join(element.text for element in elements)
    for kept in ("<script>alert(1)</script>", "onerror=alert(1)", "code <b>", "pre <i>", "& ",
                 "site (https://example.org)", "https://example.org/ref", "a fish"):  # fmt: skip
        assert kept in text
    assert [element.text for element in elements if element.match] == ["fish", "fish", "fish"]


def test_a_verse_is_one_paragraph_whatever_it_looks_like() -> None:
    elements = rendered("# 1. *Selah*", {}, markdown=False)
    assert [(one.kind, one.tag, one.text) for one in elements] == [
        ("open", "p", ""), ("text", None, "# 1. *Selah*"), ("close", "p", "")
    ]  # fmt: skip
