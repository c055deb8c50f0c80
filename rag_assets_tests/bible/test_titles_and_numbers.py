"""Psalms' titles by one rule in all formats, and numbers as editions print them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.bible.formats.osis import read_osis
from rag_assets.bible.formats.passages import Source, parse_chapter, parse_verse_number
from rag_assets.bible.formats.text import normalise
from rag_assets.bible.formats.usfm import read_usfm
from rag_assets.bible.formats.usfx import read_usfx
from rag_assets.bible.formats.usx import read_usx
from rag_assets.bible.formats.zefania import read_zefania
from rag_assets.bible.model import OddityKind
from rag_assets.bible.reader import read_bible
from rag_assets.errors import CorpusError
from rag_assets_tests.bible.conftest import FolderOf
from rag_assets_tests.conftest import SHARED_CASES

PATH = Path("a")


def usfm(body: str) -> Source:
    return read_usfm(PATH, f"\\id PSA\n\\c 3\n{body}".encode())


def usx(body: str) -> Source:
    text = f'<usx version="3.0"><book code="PSA"/><chapter number="3"/>{body}</usx>'
    return read_usx(PATH, text.encode())


def usfx(body: str) -> Source:
    return read_usfx(PATH, f'<usfx><book id="PSA"><c id="3"/>{body}</book></usfx>'.encode())


def osis(body: str) -> Source:
    return read_osis(PATH, f'<osis><chapter osisID="Ps.3">{body}</chapter></osis>'.encode())


def zefania(body: str, book: str = 'bnumber="19"') -> Source:
    text = f'<XMLBIBLE><BIBLEBOOK {book}><CHAPTER cnumber="3">{body}</CHAPTER></BIBLEBOOK>'
    return read_zefania(PATH, f"{text}</XMLBIBLE>".encode())


def verses(source: Source) -> list[tuple[str, str]]:
    return [(passage.reference, passage.text) for passage in source.passages]


def reported(source: Source) -> list[tuple[str, str]]:
    return [(oddity.reference, oddity.detail) for oddity in source.oddities]


BEFORE_VERSE_1 = [
    usfm("\\d A Psalm of \\nd David\\nd*.\\f + \\ft n\\f*\n\\q1\n\\v 1 LORD"),
    usx(
        '<para style="d">A Psalm of <char style="nd">David</char>.<note style="f">n</note></para>'
        '<para style="q1"><verse number="1"/>LORD</para>'
    ),
    usfx('<d>A Psalm of <nd>David</nd>.<f>n</f></d><q><v id="1"/>LORD<ve/></q>'),
    osis('<title type="psalm">A Psalm of David.<note>n</note></title>'
         '<verse osisID="Ps.3.1">LORD</verse>'),
    osis('<title>A Psalm of David.</title><verse sID="x" osisID="Ps.3.1"/>LORD<verse eID="x"/>'),
    zefania('<CAPTION>A Psalm of David.</CAPTION><VERS vnumber="1">LORD</VERS>'),
]  # fmt: skip


@pytest.mark.parametrize("source", BEFORE_VERSE_1)
def test_a_title_before_verse_1_is_left_out_and_reported(source: Source) -> None:
    assert verses(source) == [("PSA 3:1", "LORD")]
    assert reported(source) == [("PSA 3", "left out: 'A Psalm of David.'")]
    assert source.oddities[0].kind is OddityKind.TITLE


WITHIN_A_VERSE = [
    usfm("\\q1\n\\v 1\n\\d A Psalm.\n\\q1 LORD"),
    usx('<para style="q1"><verse number="1"/></para><para style="d">A Psalm.</para>'
        '<para style="q1">LORD</para>'),
    usfx('<v id="1"/><d>A Psalm.</d><q>LORD</q><ve/>'),
    osis('<verse osisID="Ps.3.1"><title canonical="true">A Psalm.</title>LORD</verse>'),
    zefania('<VERS vnumber="1"><CAPTION>A Psalm.</CAPTION>LORD</VERS>'),
]  # fmt: skip


@pytest.mark.parametrize("source", WITHIN_A_VERSE)
def test_a_title_in_a_verse_with_other_text_is_left_out_and_reported(source: Source) -> None:
    assert verses(source) == [("PSA 3:1", "LORD")]
    assert reported(source) == [("PSA 3:1", "left out: 'A Psalm.'")]


NUMBERED = [
    usfm("\\d\n\\v 1 A Psalm.\n\\q1\n\\v 2 LORD"),
    usfm("\\q1\n\\v 1\n\\d A Psalm.\n\\q1\n\\v 2 LORD"),
    usx('<para style="d"><verse number="1" sid="x"/>A Psalm.<verse eid="x"/></para>'
        '<para style="q1"><verse number="2"/>LORD</para>'),
    usfx('<d><v id="1"/>A Psalm.<ve/></d><q><v id="2"/>LORD<ve/></q>'),
    osis('<title type="psalm"><verse sID="x" osisID="Ps.3.1"/>A Psalm.<verse eID="x"/></title>'
         '<verse osisID="Ps.3.2">LORD</verse>'),
    osis('<verse osisID="Ps.3.1"><title type="psalm">A Psalm.</title></verse>'
         '<verse osisID="Ps.3.2">LORD</verse>'),
    zefania('<VERS vnumber="1">A Psalm.</VERS><VERS vnumber="2">LORD</VERS>'),
]  # fmt: skip


@pytest.mark.parametrize("source", NUMBERED)
def test_a_title_with_a_verse_number_of_its_own_is_that_verse(source: Source) -> None:
    assert verses(source) == [("PSA 3:1", "A Psalm."), ("PSA 3:2", "LORD")]
    assert source.oddities == ()


VERSE_0 = {
    "usfm": "\\id PSA\n\\c 3\n\\q1\n\\v 0 A Psalm.\n\\v 1 LORD",
    "usx": '<usx version="3.0"><book code="PSA"/><chapter number="3"/><para style="d">'
    '<verse number="0"/>A Psalm.</para><para style="q1"><verse number="1"/>LORD</para></usx>',
    "usfx": '<usfx><book id="PSA"><c id="3"/><d><v id="0"/>A Psalm.<ve/></d><q><v id="1"/>LORD<ve/>'
    "</q></book></usfx>",
    "osis": '<osis><verse osisID="Ps.3.0">A Psalm.</verse><verse osisID="Ps.3.1">LORD</verse>'
    "</osis>",
    "zefania": '<XMLBIBLE><BIBLEBOOK bnumber="19"><CHAPTER cnumber="3"><VERS vnumber="0">A Psalm.'
    '</VERS><VERS vnumber="1">LORD</VERS></CHAPTER></BIBLEBOOK></XMLBIBLE>',
    "csv": "Book,Chapter,Verse,Text\nPsalms,3,0,A Psalm.\nPsalms,3,1,LORD\n",
}


@pytest.mark.parametrize("name", VERSE_0)
def test_verse_0_is_a_title_in_every_format(name: str, folder_of: FolderOf) -> None:
    found = read_bible(folder_of({"a": VERSE_0[name]}))

    assert [(verse.reference, verse.text) for verse in found.verses] == [("PSA 3:1", "LORD")]
    titles = [one for one in found.oddities if one.kind is OddityKind.TITLE]
    assert [(one.reference, one.detail) for one in titles] == [("PSA 3:0", "left out: 'A Psalm.'")]


def test_a_title_around_its_verse_is_reported_up_to_the_number() -> None:
    found = osis('<title type="psalm">For David. <verse osisID="Ps.3.1">A Psalm.</verse></title>')
    assert verses(found) == [("PSA 3:1", "A Psalm.")]
    assert reported(found) == [("PSA 3", "left out: 'For David.'")]
    same = usfm("\\d For David.\n\\v 1 A Psalm.")
    assert (verses(same), reported(same)) == (verses(found), reported(found))


def test_a_version_of_titles_only_is_refused(folder_of: FolderOf) -> None:
    with pytest.raises(CorpusError, match="no text in any verse"):
        read_bible(folder_of({"a": "\\id PSA\n\\c 3\n\\q1\n\\v 0 A Psalm.\n\\v 1\n"}))


def test_headings_are_no_titles() -> None:
    marked = osis(
        '<title>BOOK I</title><title type="psalm">A Psalm.</title><verse osisID="Ps.3.1">a</verse>'
    )
    assert reported(marked) == [("PSA 3", "left out: 'A Psalm.'")]
    other_book = read_osis(
        PATH,
        b'<osis><chapter osisID="Gen.3"><title>The fall</title><verse osisID="Gen.3.1">a</verse>'
        b"</chapter></osis>",
    )
    assert other_book.oddities == ()
    assert zefania("<CAPTION>x</CAPTION><VERS vnumber='1'>a</VERS>", 'bnumber="1"').oddities == ()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("man<milestone type='line'/>who", "man who"),
        ("man<milestone type='halfLine'/>who", "man who"),
        ("man<milestone type='x-p' marker='¶'/>who", "man who"),
        ("man<milestone type='x-extra-p'/>who", "man who"),
        ("man<milestone type='line'/>, who", "man, who"),
        ("bles<milestone type='pb'/>sed", "blessed"),
        ("bles<milestone type='x-strongsMarkup'/>sed", "blessed"),
        ("<milestone type='cQuote' marker='“'/>Go", "“Go"),
        ("man<lb/>who", "man who"),
        ("<l>man</l><l>who</l>", "man who"),
    ],
)
def test_osis_line_milestones_separate_words(body: str, text: str) -> None:
    assert verses(osis(f"<verse osisID='Ps.3.1'>{body}</verse>")) == [("PSA 3:1", text)]


@pytest.mark.parametrize(
    "source",
    [
        usfm("\\q1\n\\v 1 man//who"),
        usx('<para style="q1"><verse number="1"/>man<optbreak/>who</para>'),
        usfx('<q><v id="1"/>man<optionalLineBreak/>who<ve/></q>'),
        zefania('<VERS vnumber="1">man<BR/>who</VERS>'),
    ],
)
def test_so_do_the_line_breaks_of_other_formats(source: Source) -> None:
    assert verses(source) == [("PSA 3:1", "man who")]


def test_a_zefania_verse_with_an_end_is_a_bridge() -> None:
    source = zefania('<VERS vnumber="2" enumber="3">a</VERS><VERS vnumber="4" enumber="4">b</VERS>')
    assert verses(source) == [("PSA 3:2-3", "a"), ("PSA 3:4", "b")]
    with pytest.raises(CorpusError, match="vnumber '3' with enumber '2' is not a verse number"):
        zefania('<VERS vnumber="3" enumber="2">a</VERS>')


@pytest.mark.parametrize("printed", ["Ps.3.2-Ps.3.4", "Bible:Ps.3.2-Bible:Ps.3.4", "Ps.3.2 Ps.3.4"])
def test_an_osis_range_is_a_bridge(printed: str) -> None:
    assert verses(osis(f"<verse osisID='{printed}'>a</verse>")) == [("PSA 3:2-4", "a")]


def test_a_zefania_book_without_a_name_is_read_by_its_number_and_reported_beyond_the_canon() -> (
    None
):
    verse = '<VERS vnumber="1">a</VERS>'
    within = zefania(verse, 'bnumber="40"')
    beyond = zefania(verse, 'bnumber="69"')
    assert (verses(within), within.oddities) == ([("MAT 3:1", "a")], ())
    assert verses(beyond) == [("TOB 3:1", "a")]
    assert reported(beyond) == [("TOB", "book 69 has no name: read as TOB, by its number")]
    for book in ('bnumber="0"', 'bnumber="99"', "", 'bnumber="69" bname="Xyz"'):
        with pytest.raises(CorpusError, match="unknown book"):
            zefania(verse, book)


def test_a_zefania_book_whose_name_is_another_book_is_reported() -> None:
    source = zefania('<VERS vnumber="1">a</VERS>', 'bnumber="1" bname="Matthew"')
    assert verses(source) == [("GEN 3:1", "a")]
    assert reported(source) == [("GEN", "book 1 is named 'Matthew': read as GEN, by its number")]


MARKS = ["\u200b", "\u200e", "\u200f", "\u202a", "\u2060", "\u2067", "\ufeff", "\u00ad", "\u061c"]


@pytest.mark.parametrize("mark", MARKS)
def test_marks_around_a_number_do_not_count(mark: str) -> None:
    number = parse_verse_number(f"{mark}4{mark}-{mark}5{mark}")
    assert number is not None
    assert (number.start, number.end) == (4, 5)
    assert parse_chapter(f"{mark}3", PATH, None) == 3
    source = read_usfm(
        PATH, f"\\id PSA\n\\c {mark}3{mark}\n\\q1\n\\v {mark}1{mark} a\n\\v{mark}2 b".encode()
    )
    assert verses(source) == [("PSA 3:1", "a"), ("PSA 3:2", "b")]
    assert source.oddities == ()


@pytest.mark.parametrize("mark", MARKS)
def test_a_verse_of_marks_only_is_blank(mark: str) -> None:
    assert normalise(f" {mark} {mark}") == ""
    assert verses(usfm(f"\\q1\n\\v 1 {mark}\n\\v 2 b")) == [("PSA 3:1", ""), ("PSA 3:2", "b")]


def test_marks_of_a_script_stay_and_soft_hyphens_go() -> None:
    assert normalise("می\u200cخواهم \u200fשלום\u200f") == "می\u200cخواهم \u200fשלום\u200f"
    assert normalise("ក\u200bខ") == "ក\u200bខ"
    assert normalise("com\u00admand\ufeffment") == "commandment"


CASES: dict[str, list[tuple[str, str]]] = {
    "osis_line_milestone": [("PSA 1:1", "Blessed is the man who walks not")],
    "zefania_enumber": [("GEN 1:2-3", "Two and three."), ("GEN 1:4", "Four.")],
    "verse_zero": [("PSA 3:1", "LORD, how many are my foes!")],
}


@pytest.mark.parametrize("name", CASES)
def test_the_shared_cases(name: str) -> None:
    folder = SHARED_CASES / "bible" / name
    if not folder.exists():
        pytest.skip("the shared cases are not on this machine")
    found = [(verse.reference, verse.text) for verse in read_bible(folder).verses]
    assert found == CASES[name]
