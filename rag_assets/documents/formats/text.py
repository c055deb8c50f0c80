"""Characters of a document: decoded from any encoding, without those that no database stores.

No format is known here.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter

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
_READ_AS = {  # declared encodings, by Python's names, as browsers read them (WHATWG Encoding)
    **{"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "gb2312": "gb18030"},
    **{"gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs"},
    **{"iso8859-11": "cp874", "tis-620": "cp874", "iso2022_jp": "iso2022_jp_ext"},
}
_SEVEN_BITS = ("iso2022", "utf-7", "hz")  # encodings whose bytes are all ASCII
_NOT_NAMED = ("utf-8", "utf-16", "utf-32", "idna", "punycode", "unicode", "raw", "undefined")
_ALIASES = {"windows-31j": "cp932", "iso-8859-8-i": "iso8859-8", "iso-8859-8-e": "iso8859-8"}
_LABEL = re.compile(r"(?:x-)?(?:(?:windows|dos|cp)-?(?=\d))?", re.IGNORECASE)
_FILL = "rag-assets-cp1252"
_GUESSED = (
    *("cp1252", "cp1251", "koi8_r", "cp866", "cp1253", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949", "mac_roman"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # of a terminal: colours and the like
_ENDS = re.compile(r"\r+\n|[\r\v\f\x85\u2028\u2029]")
_UNWANTED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")


def clean(text: str, remarks: Remarks | None = None) -> str:
    """Text that can be stored and compared.

    Line ends become ``\\n`` (a form feed, too); NUL, other control characters but for ``\\n`` and
    ``\\t``, terminal escapes, byte-order marks and lone surrogates are removed; letters and their
    marks are composed (NFC).

    :param remarks: takes a report on what is removed.
    """
    if text.replace("\n", "").replace("\t", "").isprintable():  # nearly always; the rest is slow
        return _composed(text)
    if _ENDS.search(text):
        text = _ENDS.sub("\n", text)
    if found := _UNWANTED.search(text):
        text, escapes = _ESCAPES.subn("", text)
        text, unwanted = _UNWANTED.subn("", text)
        if remarks and escapes:
            remarks.left_out("terminal escape", count=escapes)
        if remarks and unwanted:
            remarks.left_out("control character", f"U+{ord(found.group()):04X}", unwanted)
    return _composed(text)


def _composed(text: str) -> str:
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def decode(content: bytes, declared: str | None = None, remarks: Remarks | None = None) -> str:
    """Characters of a text in any encoding, cleaned.

    In this order: a byte-order mark, UTF-16 without one, a declared encoding of seven bits, UTF-8,
    UTF-8 with broken places, the declared encoding, and at last a guess. In a text that is UTF-8
    for the most part, a broken place is read as cp1252; where that does not help, it becomes
    U+FFFD.

    :param declared: the encoding that the document itself names.
    """
    remarks = remarks or Remarks()
    return clean(_decoded(content, declared, remarks), remarks)


def _decoded(content: bytes, declared: str | None, remarks: Remarks) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            content = content[len(mark) :]
            if encoding != "utf-8":
                return content.decode(encoding, "replace")
            break
    wide = _wide(content)
    if wide is not None:
        return content.decode(wide, "replace")
    named = _named(declared) if declared else None
    if named and named.startswith(_SEVEN_BITS):
        try:
            return content.decode(named)
        except UnicodeDecodeError:
            if b"\x1b" in content:
                return content.decode(named, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        whole = content[: error.start]
        if error.reason == "unexpected end of data" and not whole.isascii():  # the file was cut off
            return whole.decode("utf-8") + "\ufffd"
    if _is_utf8_in_the_main(content):
        filled = content.decode("utf-8", _FILL)
        repaired = _broken(content) - (filled.count("\ufffd") - content.count(b"\xef\xbf\xbd"))
        if repaired > 0:
            remarks.repaired("byte that is not UTF-8, read as cp1252", count=repaired)
        return filled
    if named and not named.startswith(_SEVEN_BITS):
        return content.decode(named, "replace")
    encoding = _guess(content)
    remarks.repaired("encoding guessed", encoding)
    return content.decode(encoding, "replace")


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
    """Replace a broken place of UTF-8: by its cp1252 character, else by U+FFFD.

    A character that was cut (``E2 80``) cannot be restored; but two bytes may also be a letter and
    a closing mark in cp1252 (``é»``).
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
    """UTF-16 without a mark: Latin text, or one in another alphabet with blanks between words."""
    sample = content[: _SAMPLE & ~1]
    pairs = len(sample) // 2
    if pairs < 2 or b"\0" not in sample:
        return None
    first, second = sample[0 : 2 * pairs : 2], sample[1 : 2 * pairs : 2]
    for encoding, low, high in (("utf-16-le", first, second), ("utf-16-be", second, first)):
        if low.count(0) >= 0.05 * pairs:
            continue
        if high.count(0) > 0.3 * pairs or _is_of_one_alphabet(sample, encoding, high):
            return encoding
    return None


def _is_of_one_alphabet(sample: bytes, encoding: str, high: bytes) -> bool:
    """Whether UTF-16 is an alphabet's letters and blanks: two values in nearly all high bytes."""
    usual = Counter(high).most_common(2)
    if 0 not in dict(usual) or sum(times for _, times in usual) < 0.9 * len(high):
        return False
    text = sample.decode(encoding, "replace")
    return all(
        character in "\t\n\r\ufeff" or unicodedata.category(character)[0] != "C"
        for character in text
    )


def _named(declared: str) -> str | None:
    """The declared encoding as browsers read it; ``None`` if unknown, or one that marks itself."""
    label = _ALIASES.get(declared.lower(), declared)
    for known in (label, _LABEL.sub("", label, count=1), _LABEL.sub("cp", label, count=1)):
        try:
            name = codecs.lookup(known).name
            b"".decode(known)  # fails for codecs of no text, such as rot13
        except (LookupError, ValueError):
            continue
        return None if name.startswith(_NOT_NAMED) else _READ_AS.get(name, name)
    return None


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
