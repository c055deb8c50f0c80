"""What of USX, USFX, OSIS and Zefania files becomes verses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_assets.bible.formats.osis import read_osis
from rag_assets.bible.formats.passages import Source
from rag_assets.bible.formats.usfx import read_usfx
from rag_assets.bible.formats.usx import read_usx
from rag_assets.bible.formats.zefania import read_zefania
from rag_assets.errors import CorpusError


def told(source: Source) -> list[tuple[str, str]]:
    return [(p.reference + p.number.segment, p.text) for p in source.passages]


def usx(body: str) -> list[tuple[str, str]]:
    text = f'<usx version="2.0"><book code="GEN" style="id"/><chapter number="1"/>{body}</usx>'
    return told(read_usx(Path("gen.usx"), text.encode()))


@pytest.mark.parametrize(
    ("body", "passages"),
    [
        (
            '<para style="p"><verse number="1"/>a <note style="f"><char style="ft">n</char></note>'
            '<char style="add">b</char>.</para><para style="q1">c <verse number="2"/>d</para>',
            [("GEN 1:1", "a b. c"), ("GEN 1:2", "d")],
        ),
        (
            '<para style="p"><verse number="1" sid="GEN 1:1"/>a<verse eid="GEN 1:1"/></para>'
            '<para style="s">head</para><para style="p"><verse number="2" sid="x"/>b</para>',
            [("GEN 1:1", "a"), ("GEN 1:2", "b")],
        ),
        (
            '<para style="d">title</para><para style="q1"><verse number="1-2"/>x'
            '<char style="nd">Y<char style="it">z</char></char></para>'
            '<para style="qa">ALEPH</para>',
            [("GEN 1:1-2", "xYz")],
        ),
        (
            '<para style="p">\n  <verse number="1"/>\n  <char style="w">The</char>\n'
            '  <char style="w">end</char>\n  <note style="x">n</note>\n, so\n</para>',
            [("GEN 1:1", "The end, so")],
        ),
        (
            '<table><row><cell style="tc1"><verse number="1"/>a</cell><cell style="tc2">b</cell>'
            "</row></table>",
            [("GEN 1:1", "a b")],
        ),
        (
            '<para style="p"><verse number="1"/>a<optbreak/>b<figure file="x">cap</figure>'
            '<ms style="qt-s"/></para>',
            [("GEN 1:1", "a b")],
        ),
        (
            '<para style="p"><verse number="1"/>it’s&#160;&#8217;</para><sidebar><para style="p">'
            "s</para></sidebar>",
            [("GEN 1:1", "it’s ’")],
        ),
    ],
)
def test_usx(body: str, passages: list[tuple[str, str]]) -> None:
    assert usx(body) == passages


def test_unknown_usx_styles_are_reported_and_their_text_kept() -> None:
    text = (
        '<usx version="3.0"><book code="GEN"/><chapter number="1"/><para style="new">'
        '<verse number="1"/>a <char style="odd">b</char></para></usx>'
    )

    source = read_usx(Path("gen.usx"), text.encode())

    assert told(source) == [("GEN 1:1", "a b")]
    assert [oddity.detail for oddity in source.oddities] == [
        "unknown paragraph style 'new'; text kept",
        "unknown character style 'odd'; text kept",
    ]


def usfx(body: str) -> Source:
    text = f'<usfx><book id="GEN"><h>G</h><c id="1"/>{body}</book></usfx>'
    return read_usfx(Path("gen.xml"), text.encode())


@pytest.mark.parametrize(
    ("body", "passages"),
    [
        ('<v id="1"/>起初神創造天地。<ve/>', [("GEN 1:1", "起初神創造天地。")]),
        (
            '<s>The flood</s><p><v id="1"/>a <add>b</add><f caller="+"><fr>1:1</fr> n</f>, c<ve/>'
            '<v id="2-3" bcv="GEN.1.2"><sup>2-3</sup></v>d</p><q level="2">e<ve/></q>',
            [("GEN 1:1", "a b, c"), ("GEN 1:2-3", "d e")],
        ),
        (
            '<p sfm="m"><v id="1"/><quoteStart who="God">“</quoteStart>Go<quoteEnd>”</quoteEnd>, '
            '<w s="H1">he</w> <wj>sa<k>id</k></wj><rq>x</rq> <xt>Mt 1:1</xt><fig>'
            "<caption>c</caption></fig>.<ve/></p>",
            [("GEN 1:1", "“Go”, he said.")],
        ),
        (
            '<p><v id="1"/>a<table><tr><th level="1">h</th><tc level="2">b</tc></tr></table>c<ve/>'
            '</p><p sfm="r">(Lk 1:1)</p><p><generated>x</generated><v id="2"/>d</p>'
            '<p sfm="mr">heading</p>',
            [("GEN 1:1", "a h b c"), ("GEN 1:2", "d")],
        ),
        (
            '<p><v id="1"/>a<ve/></p><c id="2"><p><v id="1">b <nd>c</nd></v>'
            '<v id="2">d</v></p></c>',
            [("GEN 1:1", "a"), ("GEN 2:1", "b c"), ("GEN 2:2", "d")],
        ),
    ],
)
def test_usfx(body: str, passages: list[tuple[str, str]]) -> None:
    source = usfx(body)
    assert told(source) == passages
    assert source.oddities == ()


def test_usfx_text_between_verses_and_unknown_elements_are_reported() -> None:
    source = usfx('<p><v id="1"/>a <fs>b</fs><ve/> lost</p> stray <p><v id="2"/>c</p>')
    assert told(source) == [("GEN 1:1", "a b"), ("GEN 1:2", "c")]
    assert [oddity.detail for oddity in source.oddities] == [
        "unknown character style 'fs'; text kept",
        "text outside any paragraph is left out: 'stray'",
        "text outside any verse is left out: 'lost'",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<usfx><h>x</h></usfx>", "1: no <book id=…> element"),
        ('<usfx>\n<book id="XYZ"><c id="1"/></book></usfx>', "2: unknown book id 'XYZ'"),
        ('<usfx><book id="GEN">\n<c id="one"/></book></usfx>', "2: 'one' is not a chapter number"),
        (
            '<usfx><book id="GEN"><c id="1"/>\n<v id="x"/>a</book></usfx>',
            "2: 'x' is not a verse number",
        ),
        ('<usfx><book id="GEN"><c id="1"/></book></usfx>', " GEN holds no verse"),
    ],
)
def test_a_broken_usfx_file_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=f"gen.xml:{reason}"):
        read_usfx(Path("gen.xml"), text.encode())


def osis(body: str) -> list[tuple[str, str]]:
    text = f'<osis><osisText><div type="book" osisID="Gen">{body}</div></osisText></osis>'
    return told(read_osis(Path("gen.xml"), text.encode()))


@pytest.mark.parametrize(
    ("body", "passages"),
    [
        (
            "<chapter osisID='Gen.1'><title>T</title><verse osisID='Gen.1.1'>a<note>n</note> "
            "<transChange>b</transChange>.</verse> <verse osisID='Gen.1.2'/></chapter>",
            [("GEN 1:1", "a b."), ("GEN 1:2", "")],
        ),
        (
            '<chapter sID="Gen.1" osisID="Gen.1"/><p><verse sID="Gen.1.1" osisID="Gen.1.1"/>a'
            '<title>head</title></p><lg><l>b</l><l type="selah">Selah'
            '<verse eID="Gen.1.1"/></l></lg>'
            '<title>between</title><p><verse sID="s" osisID="Gen.1.2"/>c<lb/>d<verse eID="s"/></p>',
            [("GEN 1:1", "a b Selah"), ("GEN 1:2", "c d")],
        ),
        (
            '<verse osisID="Gen.1.1 Gen.1.2">a</verse><verse osisID="KJV:1John.1.3!a">b</verse>',
            [("GEN 1:1-2", "a"), ("1JN 1:3a", "b")],
        ),
        (
            '<verse osisID="Gen.1.1"><q marker="“" sID="q"/>Go<q marker="”" eID="q"/>,'
            " he said</verse>",
            [("GEN 1:1", "“Go”, he said")],
        ),
        (
            '<verse osisID="Gen.1.1">the <divineName>Lord</divineName>’s '
            '<w lemma="x">wo</w>rd</verse>',
            [("GEN 1:1", "the Lord’s word")],
        ),
    ],
)
def test_osis(body: str, passages: list[tuple[str, str]]) -> None:
    assert osis(body) == passages


def test_osis_with_a_namespace_prefix() -> None:
    text = '<o:osis xmlns:o="urn:x"><o:verse osisID="Ps.3.1">a<o:note>n</o:note></o:verse></o:osis>'

    assert told(read_osis(Path("ps.xml"), text.encode())) == [("PSA 3:1", "a")]


@pytest.mark.parametrize(
    ("body", "passages"),
    [
        (
            '<BIBLEBOOK bnumber="43" bname="Whatever"><CHAPTER cnumber="3"><CAPTION>c</CAPTION>'
            '<VERS vnumber="16">a <STYLE>b<gr str="1">c</gr></STYLE><NOTE>n</NOTE>.<BR/>d</VERS>'
            '<VERS vnumber="17"/></CHAPTER></BIBLEBOOK>',
            [("JHN 3:16", "a bc. d"), ("JHN 3:17", "")],
        ),
        (
            '<BIBLEBOOK bnumber="69" bname="Tobit"><CHAPTER cnumber="1"><PROLOG>p</PROLOG>'
            '<VERS vnumber="1">a</VERS></CHAPTER></BIBLEBOOK>',
            [("TOB 1:1", "a")],
        ),
    ],
)
def test_zefania(body: str, passages: list[tuple[str, str]]) -> None:
    text = f"<XMLBIBLE>{body}</XMLBIBLE>"

    assert told(read_zefania(Path("z.xml"), text.encode())) == passages
