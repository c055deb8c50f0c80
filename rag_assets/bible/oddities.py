"""The oddities of a version's source: from the database, or from its files where these changed."""

from __future__ import annotations

from rag_assets.bible.model import Oddity
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
