"""The oddities of a version's source: from the database, or from its files where these changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from rag_assets.bible.model import Oddity, OddityKind
from rag_assets.bible.plan import known_versions
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql.oddities import stored_oddities
from rag_assets.bible.versions import find_version_folder
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings


def oddities_of(connection: Connection, settings: Settings, code: str) -> tuple[Oddity, ...]:
    """All oddities of a version as loaded, or as its files have them when they are new or changed.

    :raises CorpusError: it is neither loaded nor on disk, or its files cannot be read.
    :raises ConfigurationError: it was loaded by an earlier release, and its folder is gone.
    """
    known = known_versions(connection, settings)
    folder = known.changed(code)
    if folder is None and code not in known.stored:
        folder = find_version_folder(settings.rag_bibles_dir, code)
    if folder is None:
        stored = stored_oddities(connection, code)
        if stored is not None:
            return stored
        folder = known.folders.get(code)
    if folder is None:
        raise ConfigurationError(
            f"{code} was loaded before oddities were stored, and its folder is gone: bring the "
            "folder back and load the version again"
        )
    return read_version(folder.path, known.limits).bible.oddities


def in_order(oddities: Iterable[Oddity]) -> list[Oddity]:
    """Sort oddities by kind; what is missing comes last, since it is often most of the canon."""
    missing = (OddityKind.MISSING, OddityKind.MISSING_BOOK)
    kinds = [*(kind for kind in OddityKind if kind not in missing), *reversed(missing)]
    return sorted(oddities, key=lambda one: kinds.index(one.kind))


def joined(oddities: Sequence[Oddity]) -> list[Oddity]:
    """Join missing verses that follow each other in a chapter: ``GEN 1:1-31``."""
    shown: list[Oddity] = []
    for _, group in groupby(enumerate(oddities), lambda found: _run_of(*found)):
        found = [one for _, one in group]
        last = found[-1].reference.rpartition(":")[2]
        reference = found[0].reference + (f"-{last}" if len(found) > 1 else "")
        shown.append(replace(found[0], reference=reference))
    return shown


def row_of(one: Oddity) -> dict[str, str | None]:
    """An oddity as a row of a table, or of JSON."""
    return {
        "kind": one.kind.value,
        "book": one.book,
        "reference": one.reference,
        "detail": one.detail,
    }


def _run_of(place: int, one: Oddity) -> tuple[object, ...]:
    """Equal for missing verses of a chapter without a gap, different for all else."""
    chapter, _, verse = one.reference.rpartition(":")
    if one.kind is OddityKind.MISSING and verse.isdigit():
        return chapter, one.detail, int(verse) - place
    return one.kind, place
