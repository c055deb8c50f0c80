"""Reads a version's folder, whatever its format, into verses.

The way in: recognise, dispatch, merge. Each format has its own module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from rag_assets.bible.files import opened_sources, refuse_empty
from rag_assets.bible.formats.bodruk_json import read_bodruk_json
from rag_assets.bible.formats.detect import FileFormat, detect_format
from rag_assets.bible.formats.osis import read_osis
from rag_assets.bible.formats.passages import Passage, Source
from rag_assets.bible.formats.scrollmapper_csv import read_scrollmapper_csv
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

_ABOUT = ("README", "LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE")


def read_bible(folder: Path) -> BibleText:
    """Read all source files below ``folder`` (or ``folder`` itself, if it is one file).

    In this process and without bounds: files that others may write are read by
    :func:`rag_assets.bible.sandbox.read_version`.

    :raises CorpusError: as for :func:`parse_bible`, or a file cannot be read.
    """
    sources = opened_sources(folder, most_bytes=sys.maxsize)
    return parse_bible(folder, {file.path: stream.read() for file, stream, _ in sources})


def parse_bible(folder: Path, files: Mapping[Path, bytes]) -> BibleText:
    """Read a version from the contents of its files, which are below ``folder``.

    :param files: in the order of their names.
    :raises CorpusError: for a file that makes no sense, an unknown format, a mixture of formats,
        or no verse at all.
    """
    for path, data in files.items():
        refuse_empty(path, data)
    formats = {path: _format_of(path, data) for path, data in files.items()}
    version_format = _only_format(folder, formats)
    if version_format is FileFormat.VREF:
        sources = [_read_vref_pair(folder, files, formats)]
    else:
        sources = _read_each(folder, files, formats)
    passages: list[Passage] = [passage for source in sources for passage in source.passages]
    if not any(passage.text for passage in passages):
        raise CorpusError(folder, "no text in any verse: put the version's own files here")
    oddities = [oddity for source in sources for oddity in source.oddities]
    return merge(version_format.value, passages, [*oddities, *_companions(folder, formats)])


def _format_of(path: Path, data: bytes) -> FileFormat:
    """By content. A licence looks like a text in no known format: there the name counts."""
    found = detect_format(data)
    about = path.name.upper().startswith(_ABOUT) and found is FileFormat.UNKNOWN
    return FileFormat.COMPANION if about else found


def _only_format(folder: Path, formats: dict[Path, FileFormat]) -> FileFormat:
    """The one format of the files that hold verses."""
    first: dict[FileFormat, Path] = {}
    for path, file_format in formats.items():
        if file_format is not FileFormat.COMPANION:
            first.setdefault(file_format, path)
    unknown = first.get(FileFormat.UNKNOWN)
    known = [file_format for file_format in first if file_format is not FileFormat.UNKNOWN]
    if unknown is not None and FileFormat.VREF not in known:
        reason = (
            "no format that is known (USFM, USX, OSIS, Zefania, thiagobodruk JSON, scrollmapper "
            "CSV, BibleNLP vref): remove the file or convert it"
        )
        raise CorpusError(unknown, reason)
    if not known:
        raise CorpusError(folder, "only companion files, no text: put the version's files here")
    if len(known) > 1:
        named = ", ".join(f"{first[one].name} is {one.value}" for one in known)
        raise CorpusError(folder, f"mixes formats ({named}): keep one format a folder")
    return known[0]


def _read_each(
    folder: Path,
    files: Mapping[Path, bytes],
    formats: dict[Path, FileFormat],
) -> list[Source]:
    sources: list[Source] = []
    for path, data in files.items():
        if formats[path] is FileFormat.COMPANION:
            continue
        source = _READERS[formats[path]](path, data)
        if not source.passages:
            source = Source((), (*source.oddities, _skipped(folder, path, "no verses")))
        sources.append(source)
    return sources


def _read_vref_pair(
    folder: Path,
    files: Mapping[Path, bytes],
    formats: dict[Path, FileFormat],
) -> Source:
    lists = [path for path, one in formats.items() if one is FileFormat.VREF]
    texts = [path for path, one in formats.items() if one is FileFormat.UNKNOWN]
    if len(lists) != 1 or len(texts) != 1:
        reason = (
            f"{len(lists)} lists of references and {len(texts)} texts: "
            "keep one vref.txt and one text with as many lines"
        )
        raise CorpusError(folder, reason)
    return read_vref(lists[0], files[lists[0]], texts[0], files[texts[0]])


def _companions(folder: Path, formats: dict[Path, FileFormat]) -> list[Oddity]:
    return [
        _skipped(folder, path, "a companion file")
        for path, file_format in formats.items()
        if file_format is FileFormat.COMPANION
    ]


def _skipped(folder: Path, path: Path, why: str) -> Oddity:
    name = path.relative_to(folder).as_posix() if path != folder else path.name
    return Oddity(OddityKind.SKIPPED_FILE, name, why)
