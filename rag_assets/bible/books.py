"""The books of the Bible: USFM codes, their order, and the names that they are known by.

Names are English and Portuguese. Verse counts belong to :mod:`rag_assets.bible.canon`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from functools import cache


class Language(StrEnum):
    """Languages in which books have display names."""

    ENGLISH = "en"
    PORTUGUESE = "pt"


# Code | OSIS ids | English names | Portuguese names. The first name of a language is the one
# displayed. Numbered books are written with "1 "; roman and glued forms are derived.
_TABLE = """
GEN|Gen|Genesis, Gn|Gênesis, Gn
EXO|Exod|Exodus, Ex|Êxodo, Êx
LEV|Lev|Leviticus, Lv|Levítico, Lv
NUM|Num|Numbers, Nm, Nb|Números, Nm
DEU|Deut|Deuteronomy, Dt|Deuteronômio, Deuteronómio, Dt
JOS|Josh|Joshua|Josué, Js
JDG|Judg|Judges, Jdgs|Juízes, Jz
RUT|Ruth|Ruth, Rth|Rute, Rt
1SA|1Sam|1 Samuel, 1 Sm|1 Samuel, 1 Sm
2SA|2Sam|2 Samuel, 2 Sm|2 Samuel, 2 Sm
1KI|1Kgs|1 Kings, 1 Kin|1 Reis, 1 Rs
2KI|2Kgs|2 Kings, 2 Kin|2 Reis, 2 Rs
1CH|1Chr|1 Chronicles, 1 Chron|1 Crônicas, 1 Crónicas, 1 Cr
2CH|2Chr|2 Chronicles, 2 Chron|2 Crônicas, 2 Crónicas, 2 Cr
EZR|Ezra|Ezra|Esdras, Ed, Esd
NEH|Neh|Nehemiah|Neemias, Ne
EST|Esth|Esther|Ester, Et
JOB|Job|Job|Jó
PSA|Ps|Psalms, Psalm, Psm|Salmos, Salmo, Sl
PRO|Prov|Proverbs, Prv|Provérbios, Pv
ECC|Eccl|Ecclesiastes, Eccles|Eclesiastes, Ec
SNG|Song|Song of Solomon, Song of Songs, Canticles, Canticle of Canticles|Cânticos, \
Cântico dos Cânticos, Cantares, Cantares de Salomão, Ct
ISA|Isa|Isaiah|Isaías, Is
JER|Jer|Jeremiah|Jeremias, Jr
LAM|Lam|Lamentations, Lamentations of Jeremiah|Lamentações, Lamentações de Jeremias, Lm
EZK|Ezek|Ezekiel, Eze|Ezequiel, Ez
DAN|Dan|Daniel|Daniel, Dn
HOS|Hos|Hosea|Oseias, Oséias, Os
JOL|Joel|Joel|Joel, Jl
AMO|Amos|Amos|Amós, Am
OBA|Obad|Obadiah|Obadias, Ob
JON|Jonah|Jonah|Jonas, Jn
MIC|Mic|Micah|Miqueias, Miquéias, Mq
NAM|Nah|Nahum|Naum, Na
HAB|Hab|Habakkuk|Habacuque, Hc
ZEP|Zeph|Zephaniah|Sofonias, Sf
HAG|Hag|Haggai|Ageu, Ag
ZEC|Zech|Zechariah|Zacarias, Zc
MAL|Mal|Malachi|Malaquias, Ml
MAT|Matt|Matthew, Mt|Mateus, Mt
MRK|Mark|Mark, Mk|Marcos, Mc
LUK|Luke|Luke, Lk|Lucas, Lc
JHN|John|John, Jn|João, Jo
ACT|Acts|Acts, Acts of the Apostles|Atos, Atos dos Apóstolos, Actos, At
ROM|Rom|Romans|Romanos, Rm
1CO|1Cor|1 Corinthians|1 Coríntios, 1 Co
2CO|2Cor|2 Corinthians|2 Coríntios, 2 Co
GAL|Gal|Galatians|Gálatas, Gl
EPH|Eph|Ephesians|Efésios, Ef
PHP|Phil|Philippians|Filipenses, Fp
COL|Col|Colossians|Colossenses, Cl
1TH|1Thess|1 Thessalonians|1 Tessalonicenses, 1 Ts
2TH|2Thess|2 Thessalonians|2 Tessalonicenses, 2 Ts
1TI|1Tim|1 Timothy|1 Timóteo, 1 Tm
2TI|2Tim|2 Timothy|2 Timóteo, 2 Tm
TIT|Titus|Titus|Tito, Tt
PHM|Phlm|Philemon|Filemom, Filémon, Fm
HEB|Heb|Hebrews|Hebreus, Hb
JAS|Jas|James|Tiago, Tg
1PE|1Pet|1 Peter, 1 Pt|1 Pedro, 1 Pe
2PE|2Pet|2 Peter, 2 Pt|2 Pedro, 2 Pe
1JN|1John|1 John|1 João, 1 Jo
2JN|2John|2 John|2 João, 2 Jo
3JN|3John|3 John|3 João, 3 Jo
JUD|Jude|Jude|Judas, Jd
REV|Rev|Revelation, Revelation of John, Revelations, Apocalypse|Apocalipse, Ap
TOB|Tob|Tobit|Tobias, Tb
JDT|Jdt|Judith|Judite, Jt
ESG|EsthGr AddEsth|Esther (Greek), Greek Esther, Additions to Esther|Ester (grego)
WIS|Wis|Wisdom, Wisdom of Solomon|Sabedoria, Sb
SIR|Sir|Sirach, Ecclesiasticus|Eclesiástico, Siraque, Eclo
BAR|Bar|Baruch|Baruque, Baruc, Br
LJE|EpJer|Letter of Jeremiah, Epistle of Jeremiah|Carta de Jeremias
S3Y|PrAzar SgThree|Song of the Three Young Men, Prayer of Azariah|Oração de Azarias
SUS|Sus|Susanna|Susana
BEL|Bel|Bel and the Dragon|Bel e o Dragão
1MA|1Macc|1 Maccabees|1 Macabeus, 1 Mc
2MA|2Macc|2 Maccabees|2 Macabeus, 2 Mc
3MA|3Macc|3 Maccabees|3 Macabeus
4MA|4Macc|4 Maccabees|4 Macabeus
1ES|1Esd|1 Esdras|1 Esdras
2ES|2Esd|2 Esdras|2 Esdras
MAN|PrMan|Prayer of Manasseh, Prayer of Manasses|Oração de Manassés
PS2|AddPs|Psalm 151|Salmo 151
DAG|DanGr AddDan|Daniel (Greek), Greek Daniel|Daniel (grego)
LAO|EpLao|Laodiceans, Letter to the Laodiceans|Laodicenses
EZA|4Ezra|Apocalypse of Ezra|Apocalipse de Esdras
5EZ|5Ezra|5 Ezra|5 Esdras
6EZ|6Ezra|6 Ezra|6 Esdras
PS3||Psalms 152-155|Salmos 152-155
2BA|2Bar|2 Baruch|2 Baruque
LBA||Letter of Baruch|Carta de Baruque
JUB|Jub|Jubilees|Jubileus
ENO|1En|Enoch|Enoque
ODA|Odes|Odes|Odes
PSS|PssSol|Psalms of Solomon|Salmos de Salomão
""".replace("\\\n", "")

_ROWS = tuple(tuple(line.split("|")) for line in _TABLE.strip().splitlines())

SCRIPTURE: tuple[str, ...] = tuple(row[0] for row in _ROWS)
"""All codes in order: the Old Testament, the New, then the deuterocanonical books."""

CANON: tuple[str, ...] = SCRIPTURE[:66]
"""The 66 books of the Protestant canon."""

PERIPHERALS: frozenset[str] = frozenset(
    {"FRT", "BAK", "OTH", "INT", "CNC", "GLO", "TDX", "NDX"}
    | {"XXA", "XXB", "XXC", "XXD", "XXE", "XXF", "XXG", "XXM", "XXS"}
)
"""USFM codes of front matter, glossaries and the like: usually without verses."""

_DECORATION = str.maketrans({".": " ", "ª": "", "º": ""})
_POSITION = {code: index for index, code in enumerate(SCRIPTURE)}
_ROMAN = {"1": ("i", "1st", "first"), "2": ("ii", "2nd", "second"), "3": ("iii", "3rd", "third")}


def is_usfm_code(code: str) -> bool:
    """Whether ``code`` is a USFM book code, Scripture or peripheral."""
    return code in _POSITION or code in PERIPHERALS


def book_position(code: str) -> int:
    """Place in canonical order, from 0; unknown and peripheral books come last."""
    return _POSITION.get(code, len(SCRIPTURE))


def display_name(code: str, language: Language = Language.ENGLISH) -> str:
    """The name to show, such as ``1 Samuel`` or ``João``; the code itself when there is none."""
    if code not in _POSITION:
        return code
    column = 2 if language is Language.ENGLISH else 3
    return _ROWS[_POSITION[code]][column].split(",")[0]


def book_code(name: str, language: Language = Language.ENGLISH) -> str | None:
    """The USFM code of a book named by code, OSIS id, name or abbreviation.

    Accents count where they tell books apart (``Jó`` is Job, ``Jo`` is John) and may be left
    out where they do not (``Exodo``). ``language`` settles ``Jn``: John in English, Jonah in
    Portuguese. Returns ``None`` for no book.
    """
    key = _key(name)
    exact, plain = _aliases(language)
    return exact.get(key) or plain.get(_without_accents(key))


@cache
def _aliases(language: Language) -> tuple[dict[str, str], dict[str, str]]:
    """Names as written, and names without accents; the preferred language goes first."""
    exact: dict[str, str] = {_key(code): code for code in SCRIPTURE}
    for column in (2, 3) if language is Language.ENGLISH else (3, 2):
        for row in _ROWS:
            for name in (*row[column].split(", "), *row[1].split()):
                for form in _forms(name):
                    exact.setdefault(_key(form), row[0])
    plain: dict[str, str] = {}
    for key, code in exact.items():
        plain.setdefault(_without_accents(key), code)
    return exact, plain


def _forms(name: str) -> Iterator[str]:
    """The name itself, then ``I Samuel`` and ``First Samuel`` for ``1 Samuel``."""
    yield name
    number, _, rest = name.partition(" ")
    for form in _ROMAN.get(number, ()):
        yield f"{form} {rest}"


def _key(name: str) -> str:
    """Compares names without regard to case, full stops and blanks.

    A blank after a roman number stays: ``I S`` must not become ``IS``, Isaiah.
    """
    words = unicodedata.normalize("NFC", name).casefold().translate(_DECORATION).split()
    if words and words[0] in {"i", "ii", "iii"}:
        return f"{words[0]} {''.join(words[1:])}"
    return "".join(words)


def _without_accents(key: str) -> str:
    decomposed = unicodedata.normalize("NFD", key)
    return re.sub(r"[\u0300-\u036f]", "", decomposed)
