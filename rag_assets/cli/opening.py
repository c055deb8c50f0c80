"""What commands open: the settings, the database, a private file."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rag_assets.documents.corpora import registered, settings_for
from rag_assets.documents.sql.documents import Document, find_documents, nearest_keys
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection, Database
from rag_assets.postgres.migrations import open_migrated
from rag_assets.settings.model import Settings, load_settings

UI_ADDRESS = "up.url"
"""File in RAG_HOME with the address of Dagster's UI, while `rag-assets up` runs."""


def settings_with(**given: object) -> Settings:
    """The settings, some replaced by options of the command line, unless these are ``None``."""
    return load_settings(**{name: value for name, value in given.items() if value is not None})


def open_corpus() -> tuple[Settings, Database]:
    """The settings and their database, its migrations applied."""
    settings = load_settings()
    return settings, open_migrated(settings)


@contextmanager
def corpus_connection() -> Iterator[tuple[Settings, Connection]]:
    """The settings and one transaction on their database, its migrations applied."""
    settings, database = open_corpus()
    with database.connect() as connection:
        yield settings, connection


def open_private(path: Path) -> BinaryIO:
    """Replace a file by an empty one that only its owner may read, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")


def refuse_taken(host: str, port: int, option: str, *, but: int | None = None) -> None:
    """Refuse a port that cannot be listened on, or that another service will use (``but``)."""
    why = "is in use"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                why = f"cannot be used ({error.strerror})"
        else:
            if port != but:
                return
    raise ConfigurationError(
        f"port {port} on {host} {why}: choose another with {option}, or 0 for a free one"
    )


def ui_address(settings: Settings) -> str | None:
    """RAG_PUBLIC_URL if it is set, else the address of the UI that `rag-assets up` runs here."""
    if "rag_public_url" in settings.model_fields_set:
        return settings.rag_public_url
    try:
        return (settings.rag_home / UI_ADDRESS).read_text("utf-8") or None
    except FileNotFoundError:
        return None


def open_document_corpus(corpus: str) -> tuple[Settings, Database]:
    """The settings as they apply to a document corpus, and the database.

    :raises ConfigurationError: there is no such corpus.
    """
    settings, database = open_corpus()
    with database.connect() as connection:
        return settings_for(settings, registered(connection, corpus)), database


def existing(connection: Connection, keys: Sequence[str]) -> tuple[Document, ...]:
    """The documents of these keys.

    :raises ConfigurationError: one does not exist; the nearest are named.
    """
    found = find_documents(connection, keys)
    for key in keys:
        if key not in {document.key for document in found}:
            near = ", ".join(nearest_keys(connection, key))
            also = f"did you mean {near}?" if near else "`rag-assets documents list` lists them"
            raise ConfigurationError(f"there is no document {key}: {also}")
    return found
