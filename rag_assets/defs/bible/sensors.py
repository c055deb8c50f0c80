"""Watch the folder of Bible versions: add partitions, start stale versions, report missing folders.

Contents are compared by hash with the stored versions, so that no cursor is needed.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import dagster as dg

from rag_assets.bible.fingerprint import FolderHashes, last_touched
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.sql.verses import StoredVersion, stored_versions
from rag_assets.bible.versions import (
    VersionDeclaration,
    VersionFolder,
    list_version_folders,
    read_declaration,
)
from rag_assets.defs.bible.jobs import bible_embeddings, bible_verses
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS, bible_versions
from rag_assets.defs.failures import as_failures
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.embedding.batching import text_hash
from rag_assets.errors import CorpusError
from rag_assets.lanes import BIBLE_LANE
from rag_assets.visible import count

_HASHES = FolderHashes()
"""Of this process, which evaluates all ticks: a tick reads only the files that changed."""


@dataclass(frozen=True)
class VersionOnDisk:
    """Contents of one folder; ``None`` for what cannot be read."""

    code: str
    source_hash: str | None
    declaration: VersionDeclaration | None


@dataclass(frozen=True)
class TickDecision:
    """What a tick should do.

    :param add: partitions to add.
    :param run: versions to load, with job and run key.
    :param gone: stored versions whose folder no longer exists.
    """

    add: tuple[str, ...]
    run: tuple[tuple[str, str, str], ...]
    gone: tuple[str, ...]


def decide_tick(
    on_disk: Sequence[VersionOnDisk],
    stored: Mapping[str, StoredVersion],
    partitions: Iterable[str],
    *,
    auto_embed: bool,
) -> TickDecision:
    """Compare the folders with the stored versions. Pure."""
    known = set(partitions)
    runs = []
    readable = [version for version in on_disk if version.source_hash is not None]
    for version in readable:
        before = stored.get(version.code)
        if _is_current(version, before):
            continue
        allowed = version.declaration is not None and version.declaration.ai_allowed
        job = bible_embeddings.name if allowed and auto_embed else bible_verses.name
        runs.append((version.code, job, _run_key(version, before)))
    codes = {version.code for version in on_disk}
    return TickDecision(
        add=tuple(version.code for version in readable if version.code not in known),
        run=tuple(runs),
        gone=tuple(code for code in stored if code not in codes),
    )


@dg.sensor(
    jobs=[bible_embeddings, bible_verses],
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Adds a partition for each new folder in RAG_BIBLES_DIR, starts versions whose "
    "files or version.toml changed, and reports folders that are gone (their data is kept: "
    "`rag-assets bible remove CODE`).",
)
def bible_version_folders(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.SensorResult | dg.SkipReason:
    """Read the folders and the stored versions, decide, and request runs."""
    with as_failures():
        folders = list_version_folders(corpus.settings.rag_bibles_dir)
        settle_s = corpus.settings.rag_bible_settle_s
        most_bytes = reading_limits(corpus.settings).most_bytes
        on_disk = [
            _read_folder(context, folder, settle_s=settle_s, most_bytes=most_bytes)
            for folder in folders
        ]
        with corpus.database.connect() as connection:
            stored = {version.code: version for version in stored_versions(connection)}
            pause = paused_lanes(connection).get(BIBLE_LANE)
    decision = decide_tick(
        on_disk,
        stored,
        context.instance.get_dynamic_partitions(BIBLE_VERSIONS),
        auto_embed=corpus.settings.rag_bible_auto_embed,
    )
    for code in decision.gone:
        context.log.warning(
            f"{code}: its folder is gone, its data is kept. Bring the folder back, or remove the "
            f"data with `rag-assets bible remove {code}`"
        )
    if pause is not None and decision.run:
        waiting = ", ".join(code for code, _, _ in decision.run)
        context.log.warning(f"{BIBLE_LANE} is paused ({pause.reason}): not started: {waiting}")
        decision = replace(decision, run=())
    if not decision.add and not decision.run:
        gone = f"; gone: {', '.join(decision.gone)}" if decision.gone else ""
        return dg.SkipReason(f"{count(len(on_disk), 'version')}, none changed{gone}")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=key, job_name=job, partition_key=code, tags={"bible/version": code}
            )
            for code, job, key in decision.run
        ],
        dynamic_partitions_requests=[bible_versions.build_add_request(list(decision.add))]
        if decision.add
        else [],
    )


def _read_folder(
    context: dg.SensorEvaluationContext,
    folder: VersionFolder,
    *,
    settle_s: float,
    most_bytes: int,
) -> VersionOnDisk:
    source_hash = declaration = None
    try:
        if time.time() - last_touched(folder.path) < settle_s:
            context.log.info(f"{folder.code}: just modified, perhaps still being copied: waiting")
            return VersionOnDisk(folder.code, None, None)
        source_hash = _HASHES.hash_of(folder.path, most_bytes=most_bytes)
        declaration = read_declaration(folder)
    except (CorpusError, OSError) as error:  # one bad folder must not block the others
        context.log.warning(f"{folder.code}: {error}")
    return VersionOnDisk(folder.code, source_hash, declaration)


def _is_current(version: VersionOnDisk, stored: StoredVersion | None) -> bool:
    return (
        stored is not None
        and stored.source_hash == version.source_hash
        and stored.declaration == version.declaration
    )


def _run_key(version: VersionOnDisk, before: StoredVersion | None) -> str:
    """Return a key that allows one run per content and declaration: broken files must not loop.

    It includes the time of the last load, because run keys are never reused: files that return to
    an earlier state must be loaded again.
    """
    declared = text_hash(repr(version.declaration)).hex()[:8]
    loaded = f"{before.loaded_at:%Y%m%dT%H%M%S.%f}" if before else "new"
    return f"{version.code}:{(version.source_hash or '')[:16]}:{declared}:{loaded}"
