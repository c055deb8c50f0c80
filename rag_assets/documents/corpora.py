"""The settings and the inbox of each document corpus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.sql.corpora import CorpusOptions, document_corpora
from rag_assets.documents.stages import Files
from rag_assets.errors import ConfigurationError, InboxUnavailableError
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import DOCUMENTS


def asset_name(corpus: str, of: str) -> str:
    """The name of a corpus' asset in Dagster, such as ``document_chunks``."""
    return f"{'document' if corpus == DOCUMENTS else corpus}_{of}"


def settings_for(settings: Settings, options: CorpusOptions) -> Settings:
    """The settings as they apply to a corpus: its options replace those of the inbox and chunking.

    :raises ConfigurationError: its chunks would overlap by more than half.
    """
    chosen = {
        "rag_documents_url": options.inbox_url,
        "rag_max_chunk_size": options.max_chunk_size,
        "rag_chunk_overlap": options.chunk_overlap,
        "rag_chunk_context": options.chunk_context,
    }
    found = settings.model_copy(
        update={name: value for name, value in chosen.items() if value is not None}
    )
    if found.rag_chunk_overlap * 2 > found.rag_max_chunk_size:
        raise ConfigurationError(
            f"corpus {options.corpus}: chunk_overlap ({found.rag_chunk_overlap}) must be at most "
            f"half of max_chunk_size ({found.rag_max_chunk_size})"
        )
    return found


def registered(connection: Connection, corpus: str) -> CorpusOptions:
    """The options of a corpus.

    :raises ConfigurationError: there is no such corpus; names the existing ones.
    """
    known = document_corpora(connection)
    if corpus not in known:
        raise ConfigurationError(
            f"there is no document corpus {corpus}: it is one of {', '.join(known)}. A new one is "
            "registered when Dagster first scans its inbox"
        )
    return known[corpus]


def settings_by_corpus(database: Database, settings: Settings) -> Mapping[str, Settings]:
    """The settings as they apply to each registered corpus."""
    with database.connect() as connection:
        known = document_corpora(connection)
    return {corpus: settings_for(settings, options) for corpus, options in known.items()}


@dataclass(frozen=True)
class Source:
    """Where a corpus' files are, and the settings to read them with."""

    files: Files
    settings: Settings


class Sources:
    """The sources of one run's documents, each opened when its first document is claimed.

    :param files: of the corpus ``documents``.
    """

    def __init__(self, settings: Settings, files: Files) -> None:
        self._settings = settings
        self._known = {DOCUMENTS: Source(files, settings)}
        self._lock = Lock()

    def of(self, corpus: str, read: Callable[[], Mapping[str, CorpusOptions]]) -> Source:
        """The source of a corpus.

        :param read: reads the registered corpora; called for the first document of each.
        :raises InboxUnavailableError: its inbox cannot be opened; other corpora are not concerned.
        """
        with self._lock:
            if corpus not in self._known:
                try:
                    settings = settings_for(self._settings, read()[corpus])
                    self._known[corpus] = Source(open_inbox(settings), settings)
                except ConfigurationError as error:
                    raise InboxUnavailableError(f"corpus {corpus}: {error}") from None
            return self._known[corpus]
