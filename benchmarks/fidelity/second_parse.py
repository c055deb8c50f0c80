"""A second reading of Bible files, independent of the package: regular expressions and ElementTree.

It shares no code with ``rag_assets.bible``, neither the reference parser of USFM nor its lists of
books and markers. It is written for sound files and refuses nothing.

The rules of the text are those of docs/bible.md: no notes, headings, printed numbers or psalms'
titles without a number of their own; one blank between words, none that only the markup caused.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

_CODES = (
    "GEN EXO LEV NUM DEU JOS JDG RUT 1SA 2SA 1KI 2KI 1CH 2CH EZR NEH EST JOB PSA PRO ECC SNG ISA "
    "JER LAM EZK DAN HOS JOL AMO OBA JON MIC NAM HAB ZEP HAG ZEC MAL MAT MRK LUK JHN ACT ROM 1CO "
    "2CO GAL EPH PHP COL 1TH 2TH 1TI 2TI TIT PHM HEB JAS 1PE 2PE 1JN 2JN 3JN JUD REV"
)
_OSIS_IDS = (
    "Gen Exod Lev Num Deut Josh Judg Ruth 1Sam 2Sam 1Kgs 2Kgs 1Chr 2Chr Ezra Neh Esth Job Ps Prov "
    "Eccl Song Isa Jer Lam Ezek Dan Hos Joel Amos Obad Jonah Mic Nah Hab Zeph Hag Zech Mal Matt "
    "Mark Luke John Acts Rom 1Cor 2Cor Gal Eph Phil Col 1Thess 2Thess 1Tim 2Tim Titus Phlm Heb Jas "
    "1Pet 2Pet 1John 2John 3John Jude Rev"
)

CODES = _CODES.split()
OSIS_IDS = _OSIS_IDS.split()

Printed = tuple[str, int, str, str]
"""Book, chapter, verse number as printed, raw text."""
Verses = dict[tuple[str, int, int, int], str]
"""Text by book, chapter, first and last verse."""

EDGE = "\ue000"  # where inline markup begins or ends
_NOTE = re.compile(r"\\(fe|f|efe|ef|x|ex|fig|rq|vp|va|ca|pro|cat|fm|xt|ior)\s.*?\\\1\*", re.DOTALL)
_ATTRIBUTES = re.compile(r"\|[^\\|]*(?=\\\+?[a-z]+[0-9]*\*)")
_LINE = re.compile(r"\\([a-z]+[0-9]*)(?=[\s\\]|$)")
_TEXT_LINE = re.compile(
    r"(?:p|m|po|pr|cls|pmo|pm|pmc|pmr|pi|mi|nb|pc|ph|q|qr|qc|qm|qd|lh|li|lf|lim|b|tr|tc|tcr|th|thr"
    r"|ib)[0-9]*"
)
_HEADING_LINE = re.compile(
    r"(?:id|usfm|ide|sts|rem|h|toc|toca|mt|mte|ms|mr|s|sr|r|d|sp|sd|cl|cp|cd|lit|qa|k1|k2"
    r"|im|imi|imq|ip|ipi|ipq|ipr|iq|is|imt|imte|iot|io|iex|ie|ili|ztoc|periph)[0-9]*"
)


def clean(raw: str) -> str:
    """The text that is stored for raw characters."""
    # A blank beside markup and before a closing sign is the markup's.
    caused = rf"\s*(?:{EDGE}\s*)+(?=[,;:!?)\]”]|\.(?!\.))"
    text = re.sub(caused, "", raw)
    text = " ".join(text.replace(EDGE, "").replace("\ufeff", "").split())
    return unicodedata.normalize("NFC", text)


def stored(printed: Iterator[Printed] | list[Printed]) -> Verses:
    """Join parts of verses, keep the first of two, leave out what is blank and verse 0."""
    chapters: dict[tuple[str, int], list[tuple[int, int, str, str]]] = {}
    for book, chapter, number, raw in printed:
        match = re.fullmatch(r"(\d+)([a-z]*)(?:[-–,].*?(\d+)[a-z]*)?", number)
        assert match, number
        first, last = int(match[1]), int(match[3] or match[1])
        text = clean(raw)
        if text and last:
            part = (first, last, match[2], text)
            chapters.setdefault((book, chapter), []).append(part)
    found: Verses = {}
    for (book, chapter), parts in chapters.items():
        kept: list[tuple[int, int, str, str]] = []
        for part in parts:
            clash = any(
                part[2] == other[2] and part[0] <= other[1] and other[0] <= part[1]
                for other in kept
            )
            if not clash:
                kept.append(part)
        kept.sort(key=lambda part: (part[0], part[2]))
        while kept:
            group = [kept.pop(0)]
            while kept and kept[0][0] <= max(part[1] for part in group):
                group.append(kept.pop(0))
            last = max(part[1] for part in group)
            found[book, chapter, group[0][0], last] = " ".join(part[3] for part in group)
    return found


def usfm(data: bytes) -> Iterator[Printed]:
    """One file: lines of text, headings left out, everything else between two verse numbers."""
    text = data.decode("utf-8-sig").replace("\r\n", "\n")
    text = re.sub(r"\\rem\b[^\n]*", "", text)
    text = text.replace("\\\\", "\\")
    text = _NOTE.sub(EDGE, text)
    text = _ATTRIBUTES.sub("", text).replace("~", "\u00a0").replace("//", " ")
    text = re.sub(r"(?<!\\(?:p|m|q|b))\n(?=[,.;:!?)\]”])", EDGE + "\n", text)
    book, chapter, number, raw = "", 0, "", ""
    reading = False
    pieces = re.split(r"(\\\+?[a-z]+[0-9]*\*?)", text)
    for marker, content in zip(pieces[1::2], pieces[2::2], strict=True):
        name = marker.strip("\\+*")
        if marker == "\\id":
            book = content.split()[0].upper()
            reading = False
        elif marker in ("\\c", "\\v") and (match := re.match(r"\s*([0-9]\S*)", content)):
            if number:
                yield book, chapter, number, raw
            number, raw = "", ""
            if marker == "\\c":
                chapter, reading = int(match[1]), False
            else:
                number, raw, reading = match[1], content[match.end() :], True
        elif _HEADING_LINE.fullmatch(name) and not marker.endswith("*"):
            reading = False
        elif marker == "\\v" or (_TEXT_LINE.fullmatch(name) and not marker.endswith("*")):
            raw += " "
            reading = True
            raw += content
        elif reading:
            # The blank after an opening marker belongs to the marker.
            raw += EDGE + (content if marker.endswith("*") else content[1:])
    if number:
        yield book, chapter, number, raw


_SKIPPED_CHARS = {"rq", "vp", "va", "ca", "pro", "cat", "fm", "xt", "ior"}


def usx(data: bytes) -> Iterator[Printed]:
    """One file: verses begin at their markers and end at the next, or at their end markers."""
    flat: list[tuple[str, str]] = []  # kind (book, chapter, verse, end, text) and value

    def visit(element: ET.Element, reading: bool) -> None:
        tag, style = element.tag, element.get("style", "")
        if tag == "book":
            flat.append(("book", element.get("code", "")))
            return
        if tag in ("chapter", "verse"):
            flat.append(
                ("end", "") if "eid" in element.attrib else (tag, element.get("number", ""))
            )
            return
        if tag in ("note", "figure", "sidebar", "periph") or style in _SKIPPED_CHARS:
            flat.append(("text", EDGE))
            return
        inline = tag in ("char", "ref", "ms")
        if tag in ("para", "cell"):
            reading = tag == "cell" or bool(_TEXT_LINE.fullmatch(style))
        flat.append(("text", EDGE if inline else " "))
        if element.text and reading:
            flat.append(("text", element.text))
        for child in element:
            visit(child, reading)
            reading = reading or child.tag == "verse"
            if child.tail and reading:
                flat.append(("text", child.tail))
        flat.append(("text", EDGE if inline else " "))

    visit(ET.fromstring(data), False)  # noqa: S314 -- the benchmark's own files
    yield from _flat(flat)


def _flat(pieces: list[tuple[str, str]]) -> Iterator[Printed]:
    book, chapter, number, raw = "", 0, "", ""
    for kind, value in [*pieces, ("end", "")]:
        if kind == "text":
            raw += value
            continue
        if number:
            yield book, chapter, number, raw
        number, raw = "", ""
        if kind == "book":
            book = value
        elif kind == "chapter":
            chapter = int(value)
        elif kind == "verse":
            number = value


_OSIS_SKIPPED = {"title", "note", "header", "head", "speaker", "figure", "index", "rdg"}
_OSIS_BLOCKS = {"l", "lg", "lb", "p", "div", "chapter", "list", "item", "row", "cell", "table"}


def osis(data: bytes) -> Iterator[Printed]:
    """One file, of containers or milestones."""
    flat: list[tuple[str, str]] = []

    def visit(element: ET.Element) -> None:
        tag = element.tag.rpartition("}")[2]
        if tag in _OSIS_SKIPPED:
            flat.append(("text", EDGE if tag == "note" else " "))
            return
        if tag == "verse":
            if "eID" in element.attrib:
                flat.append(("end", ""))
                return
            ids = element.get("osisID", "").split()
            name, chapter, first = ids[0].split(".")
            book = CODES[OSIS_IDS.index(name)]
            last = ids[-1].split(".")[2]
            flat.extend([("book", book), ("chapter", chapter), ("verse", f"{first}-{last}")])
        else:
            flat.append(("text", " " if tag in _OSIS_BLOCKS else EDGE))
            if tag == "q" and not len(element):
                flat.append(("text", element.get("marker", "")))
        flat.append(("text", element.text or ""))
        for child in element:
            visit(child)
            flat.append(("text", child.tail or ""))
        if tag == "verse":
            flat.extend([("end", "")] if "sID" not in element.attrib else [])
        else:
            flat.append(("text", " " if tag in _OSIS_BLOCKS else EDGE))

    visit(ET.fromstring(data))  # noqa: S314 -- the benchmark's own files
    yield from _flat(flat)


def zefania(data: bytes) -> Iterator[Printed]:
    """One file; books by number."""
    for book in ET.fromstring(data).iter("BIBLEBOOK"):  # noqa: S314 -- the benchmark's own files
        for chapter in book.iter("CHAPTER"):
            for verse in chapter.iter("VERS"):
                text = EDGE.join(verse.itertext())
                number = verse.get("vnumber", "")
                if end := verse.get("enumber"):
                    number = f"{number}-{end}"
                code = CODES[int(book.get("bnumber", "")) - 1]
                yield code, int(chapter.get("cnumber", "")), number, text


def bodruk_json(data: bytes) -> Iterator[Printed]:
    """One file of 66 books in canonical order."""
    for code, book in zip(CODES, json.loads(data.decode("utf-8-sig")), strict=True):
        for chapter, verses in enumerate(book["chapters"], start=1):
            for verse, text in enumerate(verses, start=1):
                yield code, chapter, str(verse), text


def scrollmapper_csv(data: bytes) -> Iterator[Printed]:
    """One file; the books are the 66, in canonical order of their first rows."""
    rows = csv.DictReader(data.decode("utf-8-sig").splitlines())
    names: dict[str, str] = {}
    for row in rows:
        code = names.setdefault(row["Book"], CODES[len(names)] if len(names) < 66 else "?")
        yield code, int(row["Chapter"]), row["Verse"], row["Text"]


def vref(folder: Path) -> Iterator[Printed]:
    """A pair of files, line by line; ``<range>`` joins a line to the one above."""
    (text,) = (path for path in folder.glob("*.txt") if path.name != "vref.txt")
    references = (folder / "vref.txt").read_text("utf-8").split("\n")
    found: list[list[str]] = []
    for reference, line in zip(references, text.read_text("utf-8").split("\n"), strict=True):
        if line.strip() == "<range>":
            found[-1][1] = reference.split(":")[1]
        elif line.strip():
            found.append([reference, reference.split(":")[1], line])
    for reference, last, line in found:
        place, first = reference.split(":")
        yield place[:3], int(place[4:]), f"{first}-{last}", line
