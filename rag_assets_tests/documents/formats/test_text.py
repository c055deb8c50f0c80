"""Bytes in any encoding become text that a database takes."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.documents.formats.remarks import Remarks
from rag_assets.documents.formats.text import clean, decode, is_binary

PORTUGUESE = "Não há ninguém à mão: são três irmãs, um avô e a avó.\nÉ só isso, então.\n" * 4
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая по-своему.\n" * 6
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n" * 6
CHINESE = "道可道，非常道。名可名，非常名。无名天地之始；有名万物之母。\n" * 6
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n" * 6


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (PORTUGUESE, "utf-8"),
        (PORTUGUESE, "utf-8-sig"),
        (PORTUGUESE, "utf-16"),
        (PORTUGUESE, "utf-16-le"),
        (PORTUGUESE, "utf-16-be"),
        (PORTUGUESE, "utf-32"),
        (RUSSIAN, "utf-16-le"),
        (RUSSIAN, "utf-16-be"),
        (PORTUGUESE, "latin-1"),
        (PORTUGUESE, "cp1252"),
        ("Straße über Köln nach Österreich, naïve Fjorde på Ærø\n" * 5, "cp1252"),
        ("“Quoted” — with a dash… and 20 € \n" * 5, "cp1252"),
        ("ação", "latin-1"),
        ("L'été dernier, à Noël, le garçon mangeait des gâteaux sucrés.", "cp1252"),
        ("Wszyscy ludzie rodzą się wolni i równi pod względem swej godności.", "cp1250"),
        ("Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti.", "cp1250"),
        ("Minden emberi lény egyenlő méltósággal születik, és közös jogú.", "cp1250"),
        ("Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.", "cp1254"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (KOREAN, "cp949"),
    ],
)
def test_a_text_is_read_in_whatever_encoding(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_a_few_broken_bytes_spoil_themselves_only() -> None:
    broken = "Águas, então: “já”".encode() + b" \x9d cut \xe2\x82 end"
    assert decode(broken) == "Águas, então: “já” \ufffd cut \ufffd end"


@pytest.mark.parametrize(
    ("content", "read", "repaired"),
    [
        ("You’ll need".encode() + b" \x93quotes\x94.", "You’ll need “quotes”.", 2),
        ("naïve".encode() + b" caf\xe9 \x93\x94\x96 \xe9t\xe9", "naïve café “”– été", 6),
        ("Não «é»".encode() + b" \xabcaf\xe9\xbb", "Não «é» «café»", 2),
        ("Привет, мир".encode() + b" \x96 \xe9.", "Привет, мир – é.", 2),
        ("吾輩は猫".encode() + b" \x80", "吾輩は猫 €", 1),
        ("é".encode() + b" \x81\x8d", "é \ufffd\ufffd", 0),
    ],
)
def test_broken_bytes_never_change_a_text_s_encoding(
    content: bytes, read: str, repaired: int
) -> None:
    remarks = Remarks()
    assert decode(content, "cp1250", remarks) == read
    assert sum(one.count for one in remarks.all()) == repaired


def test_pairs_of_letters_that_happen_to_be_utf_8_make_no_text_utf_8() -> None:
    french = "Le mot « café\xa0» et l'été à Noël, le garçon gâté.\n" * 9
    assert decode(french.encode("cp1252")) == french
    russian = "Он служил в ГУВ»; всё это знали и молчали.\n" * 9
    assert decode(russian.encode("cp1251")) == russian


def test_a_guessed_encoding_is_reported() -> None:
    remarks = Remarks()
    decode(RUSSIAN.encode("koi8_r"), None, remarks)
    ((what, examples),) = [(one.what, one.examples) for one in remarks.all()]
    assert (what, examples) == ("encoding guessed", ("koi8_r",))


def test_a_declared_encoding_is_believed_where_it_is_not_utf_8() -> None:
    assert decode("Ωραία".encode("cp1253"), "windows-1253") == "Ωραία"
    assert decode("Ωραία".encode(), "windows-1253") == "Ωραία"
    assert decode("ação".encode("latin-1"), "no-such-encoding") == "ação"


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        ("Don’t say “café” — 5 €.", "cp1252", "iso-8859-1"),
        ("Don’t say “café” — 5 €.", "cp1252", "us-ascii"),
        ("Don’t say “café” — 5 €.", "cp1252", "latin1"),
        ("Don’t say “café” — 5 €.", "cp1252", "x-cp1252"),
        ("İstanbul’da “şehir”", "cp1254", "iso-8859-9"),
        ("㐀 是一个汉字，道可道。", "gb18030", "gb2312"),
        ("① 吾輩は髙島である", "cp932", "Shift_JIS"),
        ("① 吾輩は髙島である", "cp932", "windows-31j"),
        ("똠방각하, 모든 인간은", "cp949", "ks_c_5601-1987"),
        ("ไทยและ “ข้อความ”", "cp874", "tis-620"),
        ("吾輩は猫である。", "iso2022_jp", "ISO-2022-JP"),
        ("모든 인간은", "iso2022_kr", "iso-2022-kr"),
        ("Reunião às dez + 1.", "utf-7", "utf-7"),
        ("道可道，非常道。", "hz", "hz-gb-2312"),
    ],
)
def test_a_declared_encoding_is_read_as_browsers_read_it(
    text: str, encoding: str, declared: str
) -> None:
    remarks = Remarks()
    assert decode(text.encode(encoding), declared, remarks) == text
    assert not remarks.all()


@pytest.mark.parametrize("declared", ["utf-7", "rot13", "base64", "unicode_escape", "a\0b"])
def test_a_declared_encoding_that_the_bytes_contradict_is_ignored(declared: str) -> None:
    assert decode("a + ação \\n".encode(), declared) == "a + ação \\n"


def test_bytes_behind_a_mark_of_utf_8_that_are_none_are_read_like_others() -> None:
    for text in ("You’ll see café.".encode() + b" \x93quoted\x94", b"plain \x93quoted\x94"):
        marked = decode(b"\xef\xbb\xbf" + text)
        assert marked == decode(text)
        assert marked.endswith("“quoted”")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_cut_off_at_the_end_is_lost_and_spoils_nothing(cut: int) -> None:
    content = (JAPANESE.strip() + "𠮷").encode()
    assert decode(content[:-cut]) == JAPANESE.strip() + "\ufffd"


def test_control_characters_that_are_removed_are_reported() -> None:
    remarks = Remarks()
    assert decode(b"nul\x00 bell\x07 \x1b[31mred\x1b[0m", None, remarks) == "nul bell red"
    assert [(one.kind, one.what, one.count, one.examples) for one in remarks.all()] == [
        ("left_out", "terminal escape", 2, ()),
        ("left_out", "control character", 2, ("U+0000",)),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\r\nb\rc\r\r\nd", "a\nb\nc\nd"),
        ("page\fpage", "page\npage"),
        ("a\u2028b\x85c", "a\nb\nc"),
        ("nul\x00 bell\x07 tab\t", "nul bell tab\t"),
        ("\x1b[31mred\x1b[0m \x1b alone", "red  alone"),
        ("\ufeffmark\ufeff", "mark"),
        ("lone\ud800surrogate", "lonesurrogate"),
        ("c1\x9b\x80", "c1"),
        (unicodedata.normalize("NFD", "ação"), "ação"),
        ("👨‍👩‍👧 ہے हिन्दी", "👨‍👩‍👧 ہے हिन्दी"),
    ],
)
def test_what_no_database_takes_goes(before: str, after: str) -> None:
    assert clean(before) == after


@given(st.text(st.characters(codec=None)))
def test_a_clean_text_can_be_stored_and_is_clean_already(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert not any(
        unicodedata.category(character) == "Cc" for character in cleaned if character not in "\n\t"
    )
    assert clean(cleaned) == cleaned


@given(st.binary(max_size=3000))
def test_no_bytes_are_too_odd_to_be_decoded(content: bytes) -> None:
    decode(content).encode()


@pytest.mark.parametrize(
    ("content", "binary"),
    [
        (b"plain text\n", False),
        (b"with \x00 a few \x07 odd characters in quite a long line of ordinary text" * 3, False),
        ("UTF-16 without a mark".encode("utf-16-le"), False),
        ("with a mark".encode("utf-16"), False),
        (RUSSIAN.encode("utf-16-le"), False),
        (bytes(range(256)) * 4, True),
        (b"\x7fELF\x02\x01\x01" + bytes(64), True),
        (b"", False),
    ],
)
def test_bytes_that_are_no_text_are_told_apart(content: bytes, binary: bool) -> None:
    assert is_binary(content) is binary
