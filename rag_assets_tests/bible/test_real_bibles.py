"""The real sources: every count and every oddity that their page lists."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable

import pytest

from rag_assets.bible.formats.usfx import read_usfx
from rag_assets.bible.formats.usx import read_usx
from rag_assets.bible.model import BibleText, OddityKind
from rag_assets_tests.bible.conftest import BIBLES

Real = Callable[[str], BibleText]

# Folder, format, references, verses stored, kinds of oddities and how many.
REAL: list[tuple[str, str, int, int, dict[str, int]]] = [
    ("EN_KJV/osis", "osis", 31_102, 31_102, {"title": 115}),
    (
        "EN_WEB/usfm",
        "usfm",
        37_607,
        37_565,
        {"bridge": 5, "blank": 30, "missing": 2, "extra": 3, "extra_book": 18}
        | {"skipped_file": 3, "markup": 1, "title": 139},
    ),
    (
        "EN_WEB/usfm_strongs",
        "usfm",
        775,
        774,
        {"bridge": 1, "missing_book": 60, "extra_book": 1},
    ),
    ("EN_WEB/usx", "usx", 132, 132, {"missing_book": 63, "skipped_file": 3}),
    (
        "EN_WEB/vref",
        "vref",
        10_408,
        10_407,
        {"bridge": 1, "missing": 76, "extra": 66, "missing_book": 38},
    ),
    ("EN_ASV/usx", "usx", 31_086, 31_086, {"missing": 16, "title": 116}),
    (
        "EN_OEB/osis.xml",
        "osis",
        11_722,
        11_703,
        {"blank": 19, "missing_book": 24, "extra": 2, "title": 111},
    ),
    ("EN_OEB/csv", "scrollmapper_csv", 31_102, 10_348, {"blank": 70, "missing_book": 38}),
    (
        "EN_OEB/usfm_dev",
        "usfm",
        2_304,
        2_303,
        {"bridge": 1, "segments": 14, "missing": 58, "missing_book": 64, "markup": 15},
    ),
    ("EN_WMTH/zefania.xml", "zefania", 7_958, 7_958, {"extra": 1, "missing_book": 39}),
    ("PT_ALM1911/ALM1911.json", "bodruk_json", 31_101, 31_101, {"missing": 1}),
    ("PT_BLIVRE/usfm", "usfm", 31_101, 31_100, {"missing": 1, "blank": 1, "title": 116}),
]
ODDITIES: list[tuple[str, OddityKind, list[str]]] = [
    (
        "EN_WEB/usfm",
        OddityKind.BRIDGE,
        ["SIR 11:15-16", "SIR 16:15-16", "SIR 19:18-19", "SIR 22:9-10", "SIR 26:19-27"],
    ),
    ("EN_WEB/usfm", OddityKind.EXTRA, ["ROM 14:24", "ROM 14:25", "ROM 14:26"]),
    ("EN_WEB/usfm", OddityKind.MISSING, ["ROM 16:26", "ROM 16:27"]),
    (
        "EN_WEB/usfm",
        OddityKind.SKIPPED_FILE,
        ["00-FRTeng-web.usfm", "106-GLOeng-web.usfm", "BookNames.xml"],
    ),
    ("EN_WEB/usfm_strongs", OddityKind.BRIDGE, ["4MA 8:28-29"]),
    ("EN_WEB/vref", OddityKind.BRIDGE, ["PSA 13:5-6"]),
    (
        "EN_ASV/usx",
        OddityKind.MISSING,
        [
            *("MAT 17:21", "MAT 18:11", "MAT 23:14", "MRK 7:16", "MRK 9:44", "MRK 9:46"),
            *("MRK 11:26", "MRK 15:28", "LUK 17:36", "LUK 23:17", "JHN 5:4", "ACT 8:37"),
            *("ACT 15:34", "ACT 24:7", "ACT 28:29", "ROM 16:24"),
        ],
    ),
    ("EN_OEB/osis.xml", OddityKind.EXTRA, ["3JN 1:15", "REV 12:18"]),
    ("EN_OEB/usfm_dev", OddityKind.BRIDGE, ["ISA 37:5-6"]),
    ("EN_WMTH/zefania.xml", OddityKind.EXTRA, ["LUK 2:53"]),
    ("PT_ALM1911/ALM1911.json", OddityKind.MISSING, ["2CO 13:14"]),
    ("PT_BLIVRE/usfm", OddityKind.MISSING, ["MRK 5:19"]),
    ("PT_BLIVRE/usfm", OddityKind.BLANK, ["ACT 28:29"]),
]
JOHN_3_16 = {
    "EN_KJV/osis": "For God so loved the world, that he gave his only begotten Son, that whosoever "
    "believeth in him should not perish, but have everlasting life.",
    "EN_WEB/usfm": "For God so loved the world, that he gave his one and only Son, that whoever "
    "believes in him should not perish, but have eternal life.",
    "EN_ASV/usx": "For God so loved the world, that he gave his only begotten Son, that whosoever "
    "believeth on him should not perish, but have eternal life.",
    "EN_OEB/osis.xml": "For God so loved the world, that he gave his only Son, so that everyone "
    "who believes in him may not be lost, but have eternal life.",
    "EN_OEB/csv": "For God so loved the world, that he gave his only Son, so that everyone "
    "who believes in him may not be lost, but have eternal life.",
    "EN_WMTH/zefania.xml": "For so greatly did God love the world that He gave His only Son, that "
    "every one who trusts in Him may not perish but may have the Life of Ages.",
    "PT_ALM1911/ALM1911.json": "Porque Deus amou o mundo de tal maneira, que deu o seu Filho "
    "unigenito, para que todo aquelle que n'elle crê não pereça, mas tenha a vida eterna.",
    "PT_BLIVRE/usfm": "Porque Deus amou o mundo de tal maneira, que deu o seu Filho unigênito, "
    "para que todo aquele que nele crê não pereça, mas tenha a vida eterna.",
}


def texts(bible: BibleText) -> dict[str, str]:
    return {verse.reference: verse.text for verse in bible.verses}


@pytest.mark.parametrize(
    ("name", "source_format", "references", "verses", "kinds"), REAL, ids=[row[0] for row in REAL]
)
def test_the_counts_of_a_real_bible(
    name: str,
    source_format: str,
    references: int,
    verses: int,
    kinds: dict[str, int],
    real_bible: Real,
) -> None:
    bible = real_bible(name)

    assert bible.format == source_format
    assert bible.reference_count == references
    assert len(bible.verses) == verses
    assert Counter(oddity.kind.value for oddity in bible.oddities) == kinds


@pytest.mark.parametrize(("name", "kind", "expected"), ODDITIES)
def test_the_oddities_of_a_real_bible(
    name: str, kind: OddityKind, expected: list[str], real_bible: Real
) -> None:
    oddities = real_bible(name).oddities

    assert [oddity.reference for oddity in oddities if oddity.kind is kind] == expected


def test_footnotes_alone_leave_a_verse_blank(real_bible: Real) -> None:
    oddities = real_bible("EN_WEB/usfm").oddities

    blank = [oddity.reference for oddity in oddities if oddity.kind is OddityKind.BLANK]
    assert blank[:5] == ["LUK 17:36", "ACT 8:37", "ACT 15:34", "ACT 24:7", "ROM 16:25"]
    assert all(reference.startswith("SIR") for reference in blank[5:])


def test_the_deuterocanonical_books(real_bible: Real) -> None:
    bible = real_bible("EN_WEB/usfm")
    extra = {o.reference: o.detail for o in bible.oddities if o.kind is OddityKind.EXTRA_BOOK}

    assert extra["ESG"] == "105 verses"
    assert "PS2 151:1" in texts(bible)
    assert bible.verses[-1].book not in {"REV", "MAL"}


def test_swapped_verses_keep_their_own_numbers(real_bible: Real) -> None:
    verses = texts(real_bible("EN_WEB/usfm"))

    # Printed numbers (\\vp) say 56 and 55: they change the page, not the reference.
    assert {"S3Y 1:55", "S3Y 1:56"} <= verses.keys()
    assert not any(character.isdigit() for character in verses["S3Y 1:55"] + verses["S3Y 1:56"])


def test_segments_out_of_order_are_joined_by_letter(real_bible: Real) -> None:
    verses = texts(real_bible("EN_OEB/usfm_dev"))

    assert verses["JOB 3:4"].startswith("Utter darkness let that night be, May God")
    assert "\\" not in "".join(verses.values())


@pytest.mark.parametrize("name", JOHN_3_16)
def test_john_3_16(name: str, real_bible: Real) -> None:
    assert texts(real_bible(name))["JHN 3:16"] == JOHN_3_16[name]


@pytest.mark.parametrize(
    ("name", "reference", "beginning"),
    [
        ("EN_KJV/osis", "PSA 3:1", "LORD, how are they increased"),
        ("EN_WEB/usfm", "PSA 3:1", "Yahweh, how my adversaries have increased!"),
        ("EN_WEB/vref", "PSA 3:2", "Yahweh, how my adversaries have increased!"),
        ("EN_ASV/usx", "PSA 3:1", "Jehovah, how are mine adversaries increased!"),
        ("EN_OEB/osis.xml", "PSA 3:1", "How many, Lord, are my foes!"),
        ("EN_OEB/csv", "PSA 3:1", "How many, Lord, are my foes!"),
        ("PT_ALM1911/ALM1911.json", "PSA 3:1", "Senhor, como se teem multiplicado"),
        ("PT_BLIVRE/usfm", "PSA 3:1", "Ah SENHOR, como têm se multiplicado"),
        ("EN_KJV/osis", "PSA 119:1", "ALEPH. Blessed are the undefiled"),
        ("EN_WEB/usfm", "PSA 119:1", "Blessed are those whose ways are blameless"),
        ("EN_ASV/usx", "PSA 119:1", "Blessed are they that are perfect in the way"),
    ],
)
def test_titles_stand_apart_from_the_first_verse(
    name: str, reference: str, beginning: str, real_bible: Real
) -> None:
    assert texts(real_bible(name))[reference].startswith(beginning)


@pytest.mark.parametrize("name", [row[0] for row in REAL])
def test_no_markup_is_left_in_any_text(name: str, real_bible: Real) -> None:
    markup = re.compile(r"[\\|+<>\x00-\x1f\x7f\u00a0\ufeff]|strong=|  |^\s|\s$")
    leaks = {
        reference: text
        for reference, text in texts(real_bible(name)).items()
        if markup.search(text)
    }

    assert leaks == {}


def test_markup_puts_no_blank_before_punctuation(real_bible: Real) -> None:
    blank = re.compile(r" [,.;:!?)]")

    assert not [v for v in real_bible("EN_WEB/usfm").verses if blank.search(v.text)]
    assert not [v for v in real_bible("EN_ASV/usx").verses if blank.search(v.text)]
    # All ten stand in the source itself, inside a line.
    assert len([v for v in real_bible("PT_BLIVRE/usfm").verses if blank.search(v.text)]) == 10


def test_two_formats_of_one_edition_say_the_same(real_bible: Real) -> None:
    usfm, usx = texts(real_bible("EN_WEB/usfm_strongs")), texts(real_bible("EN_WEB/usx"))

    differing = [reference for reference, text in usx.items() if usfm[reference] != text]
    assert differing == ["1JN 1:7"]  # a comma was corrected between the two editions


def test_usfm_reads_as_another_library_reads_it(real_bible: Real) -> None:
    """The vref text was made from the same USFM by SIL Machine."""
    usfm, vref = texts(real_bible("EN_WEB/usfm")), texts(real_bible("EN_WEB/vref"))

    gospels_to_revelation = [r for r in vref if not r.startswith("PSA")]
    differing = [r for r in gospels_to_revelation if usfm[r] != vref[r]]
    assert len(gospels_to_revelation) == 7948
    assert differing == ["ACT 19:40"]  # numbered 19:40-41 in the original versification


def as_usfx(usx: bytes) -> bytes:
    """A book of USX written as USFX, element by element."""
    source = ET.fromstring(usx)  # noqa: S314 -- not from outside
    book = ET.Element("book")

    def copy(element: ET.Element, into: ET.Element) -> None:
        style = element.get("style", "")
        number = element.get("number", "")
        if element.tag == "book":
            book.set("id", element.get("code", ""))
            made = ET.SubElement(into, "id", {"id": element.get("code", "")})
        elif element.tag in ("chapter", "verse"):
            made = ET.SubElement(into, "c" if element.tag == "chapter" else "v", {"id": number})
        elif element.tag == "para":
            name, level = style.rstrip("0123456789"), style[-1:]
            given = {"level": level} if level.isdigit() else {}
            plain = name in ("q", "d", "s", "b")
            made = ET.SubElement(into, name if plain else "p", given if plain else {"sfm": style})
        else:
            made = ET.SubElement(into, style or element.tag)
        made.text, made.tail = element.text, element.tail
        for child in element:
            copy(child, made)

    for element in source:
        copy(element, book)
    root = ET.Element("usfx")
    root.append(book)
    return ET.tostring(root)


@pytest.mark.parametrize("name", ["01-GEN", "19-PSA", "40-MAT"])
def test_a_book_written_as_usfx_reads_as_its_usx(name: str) -> None:
    path = BIBLES / "EN_ASV" / "usx" / f"{name}.usx"
    if not path.exists():
        pytest.skip("the shared Bibles are not on this machine")
    usx = read_usx(path, path.read_bytes())
    usfx = read_usfx(path, as_usfx(path.read_bytes()))
    assert len(usx.passages) > 1000
    assert usfx.passages == usx.passages
    titles = [one for one in usx.oddities if one.kind is OddityKind.TITLE]
    assert [one for one in usfx.oddities if one.kind is OddityKind.TITLE] == titles
