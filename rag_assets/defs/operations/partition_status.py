"""Compare what Dagster shows of partitions with what is stored, and correct it.

The data are authoritative. A version whose last run failed shows that until it has succeeded, and
what is waiting or withdrawn may show either.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import dagster as dg

from rag_assets.audit.compare import VersionState
from rag_assets.audit.model import SHOWN, Difference
from rag_assets.bible.sql.verses import stored_versions
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS, bible_versions
from rag_assets.defs.dagster_private import forget_partition
from rag_assets.defs.documents.metadata import chunks_of, embeddings_of, materializations
from rag_assets.defs.documents.partitions import partitions_for
from rag_assets.defs.under_way import partitions_of, runs_under_way
from rag_assets.documents.publishing import stored_outcome
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.documents.sql.documents import find_documents, list_documents
from rag_assets.operations.sql.overview import embedded_counts
from rag_assets.postgres.database import Connection, Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import ROLES, find_space

VERSES, VERSE_EMBEDDINGS = dg.AssetKey("verses"), dg.AssetKey("verse_embeddings")
_PAGE = 1_000
Truth = Literal["made", "absent", "either"]
"""Whether a partition's data are stored, complete and current."""


@dataclass(frozen=True)
class PartitionedAsset:
    """An asset, its partitions, and the truth about each by key."""

    key: dg.AssetKey
    partitions: dg.DynamicPartitionsDefinition
    name: str
    truth: Mapping[str, Truth]
    failed_is_untrue: bool


def untrue_partitions(
    instance: dg.DagsterInstance, database: Database, versions: Mapping[str, VersionState]
) -> tuple[Difference, ...]:
    """Partitions that show as materialized without data, or as missing with them.

    :param versions: how far each stored version is embedded.
    """
    under_way = runs_under_way(instance)
    busy = partitions_of(under_way)
    with database.connect() as connection:
        assets = (
            *_of_versions(versions),
            *_of_documents(connection, {run.run_id for run in under_way}),
        )
    found = []
    # Dagster caches statuses, and does not notice that runs were deleted.
    instance.wipe_asset_cached_status([asset.key for asset in assets])
    for asset in assets:
        known = instance.get_dynamic_partitions(asset.name)
        keys = [key for key in dict.fromkeys([*known, *asset.truth]) if key not in busy]
        shown = instance.get_status_by_partition(asset.key, keys, asset.partitions) or {}
        untrue = {
            key: reason
            for key in keys
            if (reason := _untrue(asset, key, shown.get(key), key in known))
        }
        if untrue:
            named = tuple(f"{key} {reason}" for key, reason in untrue.items())[:SHOWN]
            found.append(
                Difference(
                    "untrue_partition", asset.key.to_user_string(), len(untrue),
                    keys=tuple(untrue), examples=named,
                )
            )  # fmt: skip
    return tuple(found)


def _untrue(asset: PartitionedAsset, key: str, status: object, known: bool) -> str:
    """What is untrue about the status of a partition; empty if nothing is."""
    truth = asset.truth.get(key, "absent")
    shown = getattr(status, "name", "MISSING")
    if truth == "absent" and shown == "MATERIALIZED":
        return "shows as materialized, and nothing is stored"
    if truth == "absent" and key not in asset.truth and known:
        return "is the partition of nothing"
    if truth == "made" and (
        shown == "MISSING" or (shown == "FAILED" and asset.failed_is_untrue) or not known
    ):
        return f"shows as {shown.lower() if known else 'unknown'}, and is stored"
    return ""


def _of_versions(versions: Mapping[str, VersionState]) -> Iterable[PartitionedAsset]:
    loaded: dict[str, Truth] = dict.fromkeys(versions, "made")
    words: Mapping[VersionState, Truth] = {
        "complete": "made", "partial": "either", "none": "absent",
    }  # fmt: skip
    embedded = {code: words[state] for code, state in versions.items()}
    yield PartitionedAsset(VERSES, bible_versions, BIBLE_VERSIONS, loaded, False)
    yield PartitionedAsset(VERSE_EMBEDDINGS, bible_versions, BIBLE_VERSIONS, embedded, False)


def _of_documents(connection: Connection, at_work: set[str]) -> Iterable[PartitionedAsset]:
    truth: dict[str, dict[str, Truth]] = {name: {} for name in document_corpora(connection)}
    after = 0
    while page := list_documents(connection, limit=_PAGE, after=after):
        after = page[-1].document_id
        for one in page:
            ready = one.state == "ready" and one.run_id not in at_work
            stored = one.stored_hash is not None
            truth[one.corpus][one.key] = "made" if ready else "either" if stored else "absent"
    for name, of_corpus in truth.items():
        for key in (chunks_of(name), embeddings_of(name)):
            yield PartitionedAsset(key, partitions_for(name), name, of_corpus, True)


def correct_partitions(
    instance: dg.DagsterInstance,
    database: Database,
    settings: Settings,
    found: Sequence[Difference],
) -> None:
    """Report what is stored, and forget what is not; a partition of nothing is removed."""
    with database.connect() as connection:
        names = {
            asset.to_user_string(): name
            for name in document_corpora(connection)
            for asset in (chunks_of(name), embeddings_of(name))
        }
    makers: dict[str, Callable[[Connection, str], dg.AssetMaterialization | None]] = {
        VERSES.to_user_string(): _of_verses,
        VERSE_EMBEDDINGS.to_user_string(): partial(_of_verse_embeddings, settings),
    }
    for asset_of_documents in names:
        key_of_it = dg.AssetKey.from_user_string(asset_of_documents)
        makers[asset_of_documents] = partial(_of_document, key_of_it)
    for one in found:
        asset = dg.AssetKey.from_user_string(one.scope)
        name = names.get(one.scope, BIBLE_VERSIONS)
        for key in one.keys:
            with database.connect() as connection:
                event = makers[one.scope](connection, key)
                known = _is_stored(connection, name, key)
            if event is None:
                forget_partition(instance, asset, key)
            else:
                instance.add_dynamic_partitions(name, [key])
                instance.report_runless_asset_event(event)
            if not known:
                instance.delete_dynamic_partition(name, key)


def _is_stored(connection: Connection, name: str, key: str) -> bool:
    if name != BIBLE_VERSIONS:
        return bool(find_documents(connection, [key]))
    return any(version.code == key for version in stored_versions(connection))


def _of_verses(connection: Connection, code: str) -> dg.AssetMaterialization | None:
    for version in stored_versions(connection):
        if version.code == code:
            rows = dg.MetadataValue.int(version.verses)
            return dg.AssetMaterialization(
                VERSES, partition=code, metadata={"dagster/partition_row_count": rows}
            )
    return None


def _of_verse_embeddings(
    settings: Settings, connection: Connection, code: str
) -> dg.AssetMaterialization | None:
    spaces = [space for role in ROLES if (space := find_space(connection, settings, role))]
    counts = [embedded_counts(connection, space.space_id).get(code, 0) for space in spaces]
    rows = max(counts, default=0)
    if not rows:
        return None
    return dg.AssetMaterialization(
        VERSE_EMBEDDINGS,
        partition=code,
        metadata={"dagster/partition_row_count": dg.MetadataValue.int(rows)},
    )


def _of_document(
    asset: dg.AssetKey, connection: Connection, key: str
) -> dg.AssetMaterialization | None:
    for document in find_documents(connection, [key]):
        if document.stored_hash is not None:
            events = materializations(stored_outcome(document))
            return next(event for event in events if event.asset_key == asset)
    return None
