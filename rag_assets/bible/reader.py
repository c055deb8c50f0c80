"""Read a version's folder, whatever its format, into verses.

The entry point: recognise, dispatch, merge. Each format has its own module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rag_assets.bible.archive import unzipped
from rag_assets.bible.files import DECLARATION, opened_sources, raise_together, refuse_empty
from rag_assets.bible.formats.bodruk_json import read_bodruk_json
from rag_assets.bible.formats.detect import FileFormat, known_elsewhere, recognise
from rag_assets.bible.formats.osis import read_osis
from rag_assets.bible.formats.passages import Passage, Source
from rag_assets.bible.formats.scrollmapper_csv import HEADER_LINE, read_scrollmapper_csv
from rag_assets.bible.formats.usfm import read_usfm
from rag_assets.bible.formats.usfx import read_usfx
from rag_assets.bible.formats.usx import read_usx
from rag_assets.bible.formats.vref import read_vref
from rag_assets.bible.formats.zefania import read_zefania
from rag_assets.bible.merge import merge
from rag_assets.bible.model import BibleText, Oddity, OddityKind
from rag_assets.errors import CorpusError

_READERS: dict[FileFormat, Callable[[Path, bytes], Source]] = {
    FileFormat.USFM: read_usfm,
    FileFormat.USX: read_usx,
    FileFormat.USFX: read_usfx,
    FileFormat.OSIS: read_osis,
    FileFormat.ZEFANIA: read_zefania,
    FileFormat.BODRUK_JSON: read_bodruk_json,
    FileFormat.SCROLLMAPPER_CSV: read_scrollmapper_csv,
}

_FORMATS = (
    "USFM, USX, USFX, OSIS, Zefania, thiagobodruk JSON, scrollmapper CSV, BibleNLP vref, or a zip "
    "of them"
)
_HELPERS = (FileFormat.COMPANION, FileFormat.ZIP)


def read_bible(folder: Path) -> BibleText:
    """Read all source files below ``folder`` (or ``folder`` itself, if it is one file).

    In this process and without bounds: files that others may write are read by
    :func:`rag_assets.bible.sandbox.read_version`.

    :raises CorpusError: as for :func:`parse_bible`, or a file cannot be read.
    """
    sources = opened_sources(folder, most_bytes=sys.maxsize)
    return parse_bible(folder, {file.path: stream.read() for file, stream, _ in sources})


def parse_bible(
    folder: Path, files: Mapping[Path, bytes], *, most_bytes: int = sys.maxsize - 1
) -> BibleText:
    """Read a version from the contents of its files, which are below ``folder``.

    :param files: in the order of their names.
    :param most_bytes: that one zip among them may hold, unpacked.
    :raises CorpusError: for files that make no sense or are in no known format (all of them
        together), a mixture of formats, or no verse at all.
    """
    found, skipped = _opened(folder, _recognised(files), most_bytes)
    formats = {file.format for file in found} - {FileFormat.UNKNOWN}
    if formats == {FileFormat.VREF}:
        sources = [_read_vref_pair(folder, found)]
    else:
        sources = _read_each(folder, found)
    passages: list[Passage] = [passage for source in sources for passage in source.passages]
    oddities = [oddity for source in sources for oddity in source.oddities]
    bible = merge(min(formats).value, passages, [*oddities, *skipped])
    if not bible.verses:
        raise CorpusError(folder, "no text in any verse: put the version's own files here")
    return bible


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    data: bytes
    format: FileFormat


def _recognised(files: Mapping[Path, bytes]) -> list[_File]:
    return [
        _File(
            path,
            data,
            FileFormat.COMPANION if path.name == DECLARATION else recognise(path.name, data),
        )
        for path, data in files.items()
    ]


def _opened(
    folder: Path, files: list[_File], most_bytes: int
) -> tuple[list[_File], tuple[Oddity, ...]]:
    """The files that may hold text, zips unpacked, and a report of those that are skipped.

    A zip beside a text is the source or a copy of it (the Digital Bible Library ships one), and one
    within a zip likewise: neither is opened.
    """
    if all(file.format in (*_HELPERS, FileFormat.UNKNOWN) for file in files):
        files = _unpacked(folder, files, most_bytes)
    reasons = {FileFormat.COMPANION: "a companion file", FileFormat.ZIP: "a zip that is not opened"}
    skipped = tuple(
        _skipped(folder, file.path, reasons[file.format])
        for file in files
        if file.format in reasons
    )
    return [file for file in files if file.format not in reasons], skipped


def _unpacked(folder: Path, files: list[_File], most_bytes: int) -> list[_File]:
    """The files with those of the zips among them in their places."""
    found: list[_File] = []
    faults: list[CorpusError] = []
    for file in files:
        if file.format is not FileFormat.ZIP:
            found.append(file)
            continue
        try:
            found += _recognised(unzipped(file.path, file.data, most_bytes=most_bytes))
        except CorpusError as error:
            faults.append(error)
    raise_together(folder, faults)
    return found


def _read_each(folder: Path, files: list[_File]) -> list[Source]:
    """Read files of one format; those that cannot be read are reported together."""
    first = {file.format: file.path for file in reversed(files)}
    first.pop(FileFormat.UNKNOWN, None)
    faults = [_fault_of_unknown(file) for file in files if file.format is FileFormat.UNKNOWN]
    if len(first) > 1:
        named = ", ".join(f"{path.name} is {one.value}" for one, path in sorted(first.items()))
        faults.append(CorpusError(folder, f"mixes formats ({named}): keep one format per folder"))
        raise_together(folder, faults)
    sources: list[Source] = []
    for file in files:
        if file.format is not FileFormat.UNKNOWN:
            try:
                source = _READERS[file.format](file.path, file.data)
            except CorpusError as error:
                faults.append(error)
                continue
            if not source.passages:
                source = Source((), (*source.oddities, _skipped(folder, file.path, "no verses")))
            sources.append(source)
    raise_together(folder, faults)
    if not first:
        raise CorpusError(
            folder, "only companion files, no Bible text: docs/bible.md lists the formats"
        )
    return sources


def _fault_of_unknown(file: _File) -> CorpusError:
    try:
        refuse_empty(file.path, file.data)
    except CorpusError as error:
        return error
    if known := known_elsewhere(file.data):
        return CorpusError(file.path, f"{known.name} is not read: {known.remedy}")
    return CorpusError(
        file.path,
        f"not a known format ({_FORMATS}): remove the file, or convert it. The simplest is a CSV "
        f"with the header {HEADER_LINE}; docs/bible.md describes all formats",
    )


def _read_vref_pair(folder: Path, files: list[_File]) -> Source:
    lists = [file for file in files if file.format is FileFormat.VREF]
    texts = [file for file in files if file.format is FileFormat.UNKNOWN]
    if len(lists) != 1 or len(texts) != 1 or len(files) != 2:
        others = ", ".join(file.path.name for file in files if file not in lists)
        reason = (
            f"{len(lists)} lists of references and {len(files) - len(lists)} texts ({others}): "
            "keep one vref.txt and one text with the same number of lines"
        )
        raise CorpusError(folder, reason)
    refuse_empty(texts[0].path, texts[0].data)
    return read_vref(lists[0].path, lists[0].data, texts[0].path, texts[0].data)


def _skipped(folder: Path, path: Path, why: str) -> Oddity:
    name = path.relative_to(folder).as_posix() if path != folder else path.name
    return Oddity(OddityKind.SKIPPED_FILE, name, why)
