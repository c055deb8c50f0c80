"""What of a USFM file becomes verses, marker by marker."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.bible.formats.usfm import read_usfm

HEAD = "\\id GEN\n\\c 1\n\\p\n"


def read(body: str, head: str = HEAD) -> list[tuple[str, str]]:
    source = read_usfm(Path("gen.usfm"), (head + body).encode())
    return [(p.reference + p.number.segment, p.text) for p in source.passages]


def notes(body: str) -> list[str]:
    return [
        oddity.detail for oddity in read_usfm(Path("gen.usfm"), (HEAD + body).encode()).oddities
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r"a \f + \ft Or, b\f* c", "a c"),
        (r"a\f + \fr 1.1 \fk k \ft note\f*, c", "a, c"),
        ("a\\f + \\ft closes on\n the next line\n\\f* c", "a c"),
        (r"a \f + \ft Or, b \f*, c", "a, c"),
        (r"a\x - \xo 1:1 \xt Gen 2:1\x* b", "a b"),
        (r"don’\w t|strong=\"G1\"\w* go".replace('\\"', '"'), "don’t go"),
        (
            r"\w In|strong='H1'\w* \w the|lemma=\"x\"\w*".replace('\\"', '"').replace("'", '"'),
            "In the",
        ),
        (r"a \wj “I \+add am\+add* he\wj*,” he said", "a “I am he,” he said"),
        (r"a \add  de \add*, b", "a de, b"),
        ("mas\n\\add a de \\add*\n, fim\n.", "mas a de, fim."),
        (r"the \nd Lord\nd*’s", "the Lord’s"),
        ("a,\n\\q1 b;\n\\q2 c.\n\\b\n\\q1 d", "a, b; c. d"),
        (r"me. \qs Selah\qs*", "me. Selah"),
        ("a\n\\li1 b\n\\li2 c", "a b c"),
        ("a\n\\s A heading\n\\r (Mat 1)\n\\p b", "a b"),
        ("a\n\\d A Psalm of David\n\\q1 b", "a b"),
        ("a\n\\qa ALEPH\n\\q1 b", "a b"),
        ("a\n\\sp Beloved\n\\q1 b", "a b"),
        ("a\n\\rem \\v 99 \\b said the editor\n\\p b", "a b"),
        ("a\n\\tr \\tc1 b\\tc2 c", "a b c"),
        (r"a \rq Isaías 7:14 \rq* b", "a b"),
        (r"a \vp 2\vp* b", "a b"),
        (r"a \fig Ship|ship.jpg|col|||cap|1.1\fig* b", "a b"),
        (r"a\fig Ship|src=\"s.jpg\"\fig*b".replace('\\"', '"'), "ab"),
        (r"a \qt-s |Pilate\*b\qt-e\* c", "a b c"),
        ("a~b\u00a0c  d\n e", "a b c d e"),
        ("one//two // three", "one two three"),
        ("cafe\u0301 \ufeffx", "café x"),
        ("wait \\add for it\\add* ...", "wait for it ..."),
        (r"written , so by the translator", "written , so by the translator"),
        ("a\n\\esb\n\\p a side bar\n\\esbe\n\\p b", "a b"),
        ("a\n\\ip introduction\n\\p b", "a b"),
        ("\n... and then he went.", "... and then he went."),
        ("\n! Woe", "! Woe"),
        ("a\n\\q2\n... b", "a ... b"),
        (r"a\f - \ft b\fig c|src=\"f.jpg\" size=\"col\"\fig* d\f* e.".replace('\\"', '"'), "a e."),
        (r"a \w b|strong=\"G1\"\w* \jmp c|link-href=\"d\"\jmp* e".replace('\\"', '"'), "a b c e"),
        (r"a \f + \ft b \xt Gen 1:1 \fv 3\fv* | c\f* d", "a d"),
    ],
)
def test_markup_becomes_plain_text(body: str, text: str) -> None:
    assert read(f"\\v 1 {body}") == [("GEN 1:1", text)]


@pytest.mark.parametrize(
    ("body", "references"),
    [
        ("\\v 1 a\n\\v 2 b", ["GEN 1:1", "GEN 1:2"]),
        ("\\v 1-2 a", ["GEN 1:1-2"]),
        ("\\v 1–2 a", ["GEN 1:1-2"]),
        ("\\v 5,6 a", ["GEN 1:5-6"]),
        ("\\v 4a a\n\\v 4b b", ["GEN 1:4a", "GEN 1:4b"]),
        ("\\v 1 \na\n\\v 2 \nb", ["GEN 1:1", "GEN 1:2"]),
        ("\\v 1\n... a\n\\v 2\n! b", ["GEN 1:1", "GEN 1:2"]),
        ("\\v 1 a\n\\c 2\n\\v 1 b", ["GEN 1:1", "GEN 2:1"]),
        ("\\v1 a\n\\c2\n\\v1 b", ["GEN 1:1", "GEN 2:1"]),
        ("\\v 1 a\n\\id EXO\n\\c 1\n\\v 1 b", ["GEN 1:1", "EXO 1:1"]),
        ("\\v 55 \\vp 56\\vp* a", ["GEN 1:55"]),
        ("\\v \u200f3 a", ["GEN 1:3"]),
        ("\\d\n\\v 1 a title that is a verse", ["GEN 1:1"]),
    ],
)
def test_verse_numbers(body: str, references: list[str]) -> None:
    passages = read(body)

    assert [reference for reference, _ in passages] == references
    assert all(text for _, text in passages)


def test_a_title_before_the_first_verse_is_no_verse_text() -> None:
    body = "\\d A Psalm by David.\n\\cl Psalm 3\n\\cp 3\n\\q1\n\\v 1 Yahweh,\n\\q2 how!"

    assert read(body) == [("GEN 1:1", "Yahweh, how!")]


def test_a_verse_with_only_a_footnote_is_blank() -> None:
    assert read("\\v 1 \\f + \\ft Omitted\\f*\n\\v 2 b") == [("GEN 1:1", ""), ("GEN 1:2", "b")]


@pytest.mark.parametrize(
    ("body", "text", "note"),
    [
        (r"\v 1 a \em b\em* c\em*", "a b c", "line 4: Closing 'em' with no corresponding opening"),
        (r"\v 1 a \zx b\zx* c", "a b c", "unknown character style 'zx'; text kept"),
        (
            "\\v 1 a\n\\q\n\\v Then he said",
            "a Then he said",
            "1 verse markers without a number; text kept",
        ),
        ("\\v 1 a\n\\\\q2 b", "a b", "1 markers with two backslashes; read with one"),
        ("\\v1 a", "a", "1 numbers glued to their marker; read apart"),
        ("lost words\n\\v 1 a", "a", "text outside any verse is left out: 'lost words'"),
    ],
)
def test_broken_markup_is_reported_and_its_text_kept(body: str, text: str, note: str) -> None:
    assert read(body) == [("GEN 1:1", text)]
    assert note in notes(body)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(encoding: str, line_end: str) -> None:
    text = f"{HEAD}\\v 1 Árvore\n\\v 2 b\n".replace("\n", line_end)

    source = read_usfm(Path("gen.usfm"), text.encode(encoding))

    assert [passage.text for passage in source.passages] == ["Árvore", "b"]


def test_a_whole_bible_in_one_file_takes_linear_time() -> None:
    # Parsed in one piece, the 6,000 chapters would copy more than 10 GB; a timeout would show it.
    chapters = "".join(
        f'\\c {n % 999 + 1}\n\\p\n\\v 1 \\w a|strong="G1"\\w*\n' for n in range(3000)
    )

    assert len(read(chapters, head="\\id GEN\n")) == 3000
