"""Why something that exists is not searched: how far it has come, and the next command."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rag_assets.bible.versions import list_version_folders
from rag_assets.errors import NotReleasedError, RequestError
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.sql.unreleased import (
    DocumentCounts,
    Stage,
    document_counts,
    document_state,
    stages_of_versions,
)
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import find_space
from rag_assets.vectors.sql.tables import VectorTable, bible_table
from rag_assets.visible import count, visible

EXPLAINED = ("unknown-version", "no-documents", "no-verses")
"""Kinds of request errors that :func:`explained` may replace."""

_GATE = "run `rag-assets release gate`"
_NAMED = 5
_ON_THE_WAY = {
    "waiting": "is waiting to be processed",
    "running": "is being processed",
    "dead": "could not be processed",
    "withdrawn": "was withdrawn",
}


def explained(
    connection: Connection,
    error: RequestError,
    table: VectorTable,
    *,
    release_id: int,
    versions: Sequence[str],
    released: Collection[str],
    bibles_dir: Path | None = None,
    timeout_ms: int = 0,
) -> RequestError:
    """The same error, or one that says how far what was requested has come.

    :param table: the verses' table that the release searches.
    :param versions: those requested; ``released``: those of the release.
    :param bibles_dir: where versions have folders, if they can be seen here.
    """
    release = f"release {release_id}"
    if error.kind == "no-documents":
        found = document_counts(connection, timeout_ms=timeout_ms)
        missing = _documents_missing(found, release)
        return RequestError(error.kind, error.field, f"{release} has no documents: {missing}")
    if error.kind not in EXPLAINED:
        return error
    stored = stages_of_versions(connection, table, timeout_ms=timeout_ms)
    if error.kind == "no-verses":
        missing = _versions_missing(stored, release)
        return RequestError(error.kind, error.field, f"{release} has no Bible version: {missing}")
    folders = {folder.code for folder in list_version_folders(bibles_dir)} if bibles_dir else set()
    for code in versions:
        if code in released:
            continue
        if code in stored:
            kind = "version-withheld" if stored[code] == "withheld" else "version-not-released"
            missing = _versions_missing({code: stored[code]}, release)
        elif code in folders:
            kind = "version-not-released"
            missing = f"{code} has a folder but is not loaded: run `rag-assets bible embed {code}`"
        else:
            continue
        return RequestError(kind, error.field, f"version {missing}", error.choices)
    return error


def document_missing(
    connection: Connection, key: str, *, timeout_ms: int = 0
) -> RequestError | None:
    """Why a document that exists is not searchable; ``None`` if there is no such document."""
    state = document_state(connection, key, timeout_ms=timeout_ms)
    if state not in _ON_THE_WAY:
        return None
    return RequestError(
        "document-not-searchable",
        "documents",
        f"document {key!r} {_ON_THE_WAY[state]}: `rag-assets documents show "
        f"{visible(shlex.quote(key))}`",
    )


def nothing_released(connection: Connection, settings: Settings) -> NotReleasedError:
    """The error that nothing is released: what is missing, and what to run."""
    space = find_space(connection, settings, "small")
    stored = stages_of_versions(connection, bible_table(space) if space else None)
    documents = document_counts(connection)
    missing = []
    if stored or not documents.stored:
        missing.append(_versions_missing(stored, "any release"))
    if documents.stored:
        missing.append(_documents_missing(documents, "any release"))
    return NotReleasedError(f"nothing is released yet: {'; '.join(missing)}")


def _versions_missing(stored: Mapping[str, Stage], release: str) -> str:
    if not stored:
        return (
            "no Bible version is loaded: add one with `rag-assets bible add`, then run "
            "`rag-assets bible embed` with its code"
        )
    by_stage: dict[Stage, list[str]] = {}
    for code, stage in stored.items():
        by_stage.setdefault(stage, []).append(code)
    if embedded := by_stage.get("embedded"):
        return f"{_named(embedded)} embedded but not in {release}: {_GATE}"
    if loaded := by_stage.get("loaded"):
        command = f"run `rag-assets bible embed {' '.join(loaded[:_NAMED])}`"
        return f"{_named(loaded)} loaded but not embedded: {command}"
    return (
        f"{_named(by_stage['withheld'])} withheld by version.toml: change enabled_for_rag and "
        "ai_allowed there if the licence allows it"
    )


def _documents_missing(documents: DocumentCounts, release: str) -> str:
    if not documents.stored:
        return "there are none: run `rag-assets documents add`"
    if not documents.embedded:
        of = "the document has not" if documents.stored == 1 else "no document has"
        return f"{of} been processed: run `rag-assets documents list`"
    are = "is" if documents.embedded == 1 else "are"
    return f"{count(documents.embedded, 'document')} {are} embedded but not in {release}: {_GATE}"


def _named(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - _NAMED} more" if len(codes) > _NAMED else ""
    return f"{', '.join(codes[:_NAMED])}{more} {'is' if len(codes) == 1 else 'are'}"
