"""Characters of a document: from bytes in any encoding, and without what no database takes.

Nothing here knows a format.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from charset_normalizer import from_bytes

from rag_assets.documents.formats.remarks import Remarks

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 16_384  # bytes by which an encoding is guessed
_ALPHABETS = (  # letters outside ASCII of languages that are written with an encoding
    ("cp1252", "àáâãçéêíóôõúü"),  # Portuguese
    ("cp1252", "áéíñóúü"),  # Spanish
    ("cp1252", "àâæçèéêëîïôœùûüÿ"),  # French
    ("cp1252", "äöüß"),  # German
    ("cp1252", "àáçèéëìíïîòóöúùü"),  # Italian, Catalan, Dutch
    ("cp1252", "åäöæøéáíðóúýþ"),  # the Nordic ones
    ("cp1250", "ąćęłńóśźż"),  # Polish
    ("cp1250", "áäčďéěíĺľňóôŕřšťúůýž"),  # Czech, Slovak
    ("cp1250", "áéíóöőúüű"),  # Hungarian
    ("cp1250", "ăâîşţ"),  # Romanian
    ("cp1250", "čćđšž"),  # Croatian
    ("cp1254", "çğıöşüâî"),  # Turkish
)
_USUAL = frozenset("".join(letters for _, letters in _ALPHABETS)) | frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŒŠŸŽ‘’‚“”„…–—•€™«»°§ºª·¿¡\xa0"
)
_CLOSING = frozenset("»”’…–—")
_FILL = "rag-assets-cp1252"
_GUESSED = (
    *("cp1252", "cp1251", "koi8_r", "cp866", "cp1253", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949", "mac_roman"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))
_ASCII_UNWANTED = bytes({*range(32), 127} - set(b"\t\n"))

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # of a terminal: colours and the like
_ENDS = re.compile(r"\r+\n|[\r\v\f\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")


def clean(text: str) -> str:
    """Text that can be stored and compared.

    Line ends become ``\\n`` (a form feed, too); NUL, other control characters but for ``\\n`` and
    ``\\t``, terminal escapes, byte-order marks and lone surrogates go; letters and their marks are
    composed (NFC).
    """
    if text.isascii():  # most are, or nearly: a regular expression takes ten times as long
        content = text.encode()
        if len(content.translate(None, _ASCII_UNWANTED)) == len(content):
            return text
    if _ENDS.search(text):
        text = _ENDS.sub("\n", text)
    if _UNWANTED.search(text):
        text = _UNWANTED.sub("", _ESCAPES.sub("", text))
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def decode(content: bytes, declared: str | None = None, remarks: Remarks | None = None) -> str:
    """Characters of a text in any encoding, cleaned.

    In this order: a byte-order mark, UTF-16 by its NULs, UTF-8, UTF-8 with broken places, the
    declared encoding, and at last a guess. In a text that is UTF-8 for the most part, a broken
    place is read as cp1252; where that does not help, it becomes U+FFFD.

    :param declared: the encoding that the document itself names.
    """
    remarks = remarks or Remarks()
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return clean(content[len(mark) :].decode(encoding, "replace"))
    wide = _wide(content)
    if wide is not None:
        return clean(content.decode(wide, "replace"))
    try:
        return clean(content.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    if _is_utf8_in_the_main(content):
        filled = content.decode("utf-8", _FILL)
        repaired = _broken(content) - (filled.count("\ufffd") - content.count(b"\xef\xbf\xbd"))
        if repaired > 0:
            remarks.repaired("byte that is not UTF-8, read as cp1252", count=repaired)
        return clean(filled)
    if declared and _known(declared):
        return clean(content.decode(declared, "replace"))
    encoding = _guess(content)
    remarks.repaired("encoding guessed", encoding)
    return clean(content.decode(encoding, "replace"))


def _is_utf8_in_the_main(content: bytes) -> bool:
    """Whether characters of several bytes outweigh broken places.

    In other encodings a few pairs of letters happen to be UTF-8, but hardly ever pairs that stand
    for a letter or a quotation mark of the languages written with cp1252: these count tenfold.
    """
    beyond = [one for one in content.decode("utf-8", "ignore") if not one.isascii()]
    usual = sum(one in _USUAL for one in beyond)
    return _broken(content) < max(len(beyond) / 2, 10 * usual + 1 if usual else 0)


def _broken(content: bytes) -> int:
    return content.decode("utf-8", "replace").count("\ufffd") - content.count(b"\xef\xbf\xbd")


def _filled(error: UnicodeError) -> tuple[str, int]:
    """What stands in a broken place of UTF-8: cp1252, else U+FFFD.

    Of a character that was cut (``E2 80``) nothing is left to guess; but two bytes may also be a
    letter and a closing mark in cp1252 (``é»``).
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    broken = error.object[error.start : error.end].decode("cp1252", "replace")
    if len(broken) == 1 or (len(broken) == 2 and broken[0].isalpha() and broken[1] in _CLOSING):
        return broken, error.end
    return "\ufffd", error.end


codecs.register_error(_FILL, _filled)


def decode_beginning(content: bytes, size: int) -> str:
    """The first characters, of at most ``size`` bytes; a character that this cuts is left out."""
    beginning = content[:size]
    for length in range(len(beginning), max(0, len(beginning) - 4), -1):
        try:
            beginning[:length].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return decode(beginning[:length])
    return decode(beginning)


def is_binary(content: bytes) -> bool:
    """Whether the bytes are no text in any encoding: many control characters."""
    sample = content[:_SAMPLE]
    if not sample or _wide(content) or sample.startswith(tuple(mark for mark, _ in _MARKS)):
        return False
    return len(sample) - len(sample.translate(None, _CONTROLS)) > 0.05 * len(sample)


def _wide(content: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of Latin text is a NUL."""
    sample = content[: _SAMPLE & ~1]
    pairs = len(sample) // 2
    if pairs < 2 or b"\0" not in sample:
        return None
    first, second = sample[0 : 2 * pairs : 2].count(0), sample[1 : 2 * pairs : 2].count(0)
    if second > 0.3 * pairs and first < 0.05 * pairs:
        return "utf-16-le"
    if first > 0.3 * pairs and second < 0.05 * pairs:
        return "utf-16-be"
    return None


def _known(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name not in ("utf-8", "utf-16", "utf-32", "undefined")
    except LookupError:
        return False


def _guess(content: bytes) -> str:
    """The likeliest encoding, by the part in which the first characters outside ASCII stand."""
    beyond = re.search(rb"[\x80-\xff]", content)
    start = max(0, (beyond.start() if beyond else 0) - 200)
    sample = content[start : start + _SAMPLE]
    runs = re.findall(rb"[\x80-\xff]+", sample)
    short = sum(len(run) <= 2 for run in runs)
    if short >= 0.8 * len(runs):  # Latin letters with accents stand among plain ones
        return max(_ALPHABETS, key=lambda pair: _share(sample, *pair))[0]
    best = from_bytes(sample, cp_isolation=list(_GUESSED)).best()
    return best.encoding if best is not None else "cp1252"


def _share(sample: bytes, encoding: str, alphabet: str) -> float:
    """Of the letters outside ASCII, those that a language has. One language explains them all."""
    letters = [
        character
        for character in sample.decode(encoding, "replace").lower()
        if not character.isascii() and character.isalpha()
    ]
    return sum(character in alphabet for character in letters) / max(1, len(letters))
