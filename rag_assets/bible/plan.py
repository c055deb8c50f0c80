"""What embedding a version would request, cost and take. Nothing is written or requested."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rag_assets.bible.embed_verses import forbidden
from rag_assets.bible.fingerprint import folder_hash
from rag_assets.bible.limits import ReadingLimits, reading_limits
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql import embeddings as verse_embeddings
from rag_assets.bible.sql.verses import StoredVersion, stored_versions
from rag_assets.bible.versions import (
    VersionFolder,
    find_version_folder,
    list_version_folders,
    read_declaration,
)
from rag_assets.embedding.batching import BYTES_PER_TOKEN, Text, request_tokens, text_hash
from rag_assets.embedding.profile import Profile
from rag_assets.embedding.sql import purchases
from rag_assets.embedding.sql.profiles import profile_in_use
from rag_assets.errors import BudgetExceededError, CorpusError
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import (
    BATCH_HOURS,
    BATCH_PRICE,
    cost_of,
    price_setting,
    together,
    usd_per_million_tokens,
)
from rag_assets.vectors.sql.spaces import (
    ROLES,
    Role,
    SpaceSpec,
    distinct_roles,
    find_space,
    space_spec,
)

_LOCAL_TOKENS_PER_S = 600  # of the local model, for each processor
_TYPICAL_REQUEST_S = 0.5  # between the 0.16 and 0.79 s that users report for live requests


@dataclass(frozen=True)
class SpacePlan:
    """One version in one space.

    :param rows: verses whose vector is missing or stale.
    :param reused: of those, the ones whose text already has a vector in the space.
    :param texts: distinct texts to request.
    :param tokens: estimated from bytes: at the ratio that this space's answers had so far, or 0.25.
    :param cost_usd: ``None`` where the model's price is not known.
    :param minutes: at the limits and concurrency in force.
    :param batch_cost_usd: by the provider's batches, which not every provider has; ``None`` without
        a provider, and where the model's price is not known.
    :param batch_hours: the longest that they may take; ``None`` without a provider.
    :param provider: what its server does; empty before the first probe, and without a server.
    """

    version_code: str
    role: Role
    space: SpaceSpec
    rows: int
    reused: int
    texts: int
    tokens: int
    cost_usd: float | None
    requests: int
    minutes: float
    batch_cost_usd: float | None = None
    batch_hours: int | None = None
    provider: str = ""


def plan_versions(
    connection: Connection,
    settings: Settings,
    codes: Sequence[str],
    *,
    roles: Sequence[Role] = ROLES,
    overwrite: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
    warn: Callable[[str], None],
) -> list[SpacePlan]:
    """Plan versions as stored, or from their files where these are new or changed.

    :param codes: none means every version that is loaded or has a folder, in order of code; then
        one that cannot be read, or whose text may go to no provider, is left out with a warning.
    :raises CorpusError: a version asked for is neither loaded nor on disk, or it or its declaration
        cannot be read.
    :raises PolicyError: the text of a version asked for may go to no provider.
    """
    known = known_versions(connection, settings)
    plans = []
    for code in codes or embeddable_versions(known, warn=warn):
        try:
            plans += plan_known(
                connection,
                settings,
                known,
                code,
                roles=roles,
                overwrite=overwrite,
                limit=limit,
                batch_size=batch_size,
            )
        except CorpusError as error:
            if codes:
                raise
            warn(f"{code} is left out: {error}")
    return plans


@dataclass(frozen=True)
class KnownVersions:
    """What is loaded, and what has a folder, by code; and the limits of reading one."""

    stored: Mapping[str, StoredVersion]
    folders: Mapping[str, VersionFolder]
    limits: ReadingLimits

    def changed(self, code: str) -> VersionFolder | None:
        """The folder of a version that is new, or whose files changed since it was loaded.

        :raises CorpusError: its files cannot be read.
        """
        folder, stored = self.folders.get(code), self.stored.get(code)
        if folder is None or stored is None:
            return folder
        now = folder_hash(folder.path, most_bytes=self.limits.most_bytes)
        return None if now == stored.source_hash else folder


def known_versions(connection: Connection, settings: Settings) -> KnownVersions:
    """Read the database and the folder of versions; counts the verses of every version."""
    return KnownVersions(
        {version.code: version for version in stored_versions(connection)},
        {folder.code: folder for folder in list_version_folders(settings.rag_bibles_dir)},
        reading_limits(settings),
    )


def plan_known(
    connection: Connection,
    settings: Settings,
    known: KnownVersions,
    code: str,
    *,
    roles: Sequence[Role] = ROLES,
    overwrite: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
) -> list[SpacePlan]:
    """Plan one version, as it is stored or from its files; refuse what a run would refuse.

    :raises CorpusError: it is neither loaded nor on disk, or it or its declaration cannot be read.
    :raises PolicyError: its text may go to no provider.
    """
    stored, declared = known.stored.get(code), known.folders.get(code)
    if (stored or declared) and not _allowed(stored, declared):
        raise forbidden(code)
    folder = known.changed(code)
    if folder is None and code not in known.stored:
        folder = find_version_folder(settings.rag_bibles_dir, code)
    if folder is not None:
        return plan_folder(connection, settings, folder, roles, limit=limit, batch_size=batch_size)
    return [
        plan_version(
            connection,
            settings,
            code,
            role,
            overwrite=overwrite,
            limit=limit,
            batch_size=batch_size,
        )
        for role in distinct_roles(settings, roles)
    ]


def embeddable_versions(known: KnownVersions, *, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Versions that are loaded or have a folder and whose text may go to a provider, by code.

    The others, and those whose declaration cannot be read, cause a warning.
    """
    found = []
    for code in sorted({*known.stored, *known.folders}):
        try:
            if _allowed(known.stored.get(code), known.folders.get(code)):
                found.append(code)
            else:
                warn(f"{code} is left out: its text may go to no provider (ai_allowed)")
        except CorpusError as error:
            warn(f"{code} is left out: {error}")
    return tuple(found)


def _allowed(stored: StoredVersion | None, folder: VersionFolder | None) -> bool:
    if folder is not None:
        return read_declaration(folder).ai_allowed
    return stored is not None and stored.ai_allowed


def plan_version(
    connection: Connection,
    settings: Settings,
    version_code: str,
    role: Role,
    *,
    overwrite: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
) -> SpacePlan:
    """Plan one version in the space that the settings name for ``role``."""
    space = find_space(connection, settings, role)
    stale = verse_embeddings.stale_verses(
        connection, space, version_code, every=overwrite, limit=limit
    )
    return _plan(
        connection,
        settings,
        version_code,
        role,
        [Text(verse.text_hash, verse.text) for verse in stale],
        overwrite=overwrite,
        batch_size=batch_size,
    )


def plan_folder(
    connection: Connection,
    settings: Settings,
    folder: VersionFolder,
    roles: Sequence[Role],
    *,
    limit: int | None = None,
    batch_size: int | None = None,
) -> list[SpacePlan]:
    """Plan a version from its files, read once: ``rows`` are all verses, known texts are reused.

    :raises CorpusError: its files cannot be read.
    """
    verses = read_version(folder.path, reading_limits(settings)).bible.verses[:limit]
    texts = [Text(text_hash(verse.text), verse.text) for verse in verses]
    return [
        _plan(connection, settings, folder.code, role, texts, batch_size=batch_size)
        for role in distinct_roles(settings, roles)
    ]


def _plan(
    connection: Connection,
    settings: Settings,
    version_code: str,
    role: Role,
    rows: Sequence[Text],
    *,
    overwrite: bool = False,
    batch_size: int | None = None,
) -> SpacePlan:
    space = find_space(connection, settings, role)
    distinct = {row.hash: row for row in rows}
    wanted = list(distinct)
    if space is not None:
        wanted = purchases.without_answer(connection, space, wanted, published_counts=not overwrite)
    wanted_keys = set(wanted)
    size = sum(len(distinct[key].text.encode()) for key in wanted_keys)
    ratio = purchases.tokens_per_byte(connection, space) or 1 / BYTES_PER_TOKEN
    tokens = round(size * ratio)
    profile = profile_in_use(connection, settings, role)
    requests = _requests(len(wanted_keys), tokens, batch_size, settings, profile)
    cost = cost_of(tokens, usd_per_million_tokens(settings, role))
    remote = settings.needs_key()
    return SpacePlan(
        version_code=version_code,
        role=role,
        space=space.spec if space else space_spec(settings, role),
        rows=len(rows),
        reused=sum(row.hash not in wanted_keys for row in rows),
        texts=len(wanted_keys),
        tokens=tokens,
        cost_usd=cost,
        requests=requests,
        minutes=_minutes(requests, tokens, settings),
        batch_cost_usd=None if cost is None or not remote else cost * BATCH_PRICE,
        batch_hours=batch_hours(tokens, settings) if remote else None,
        provider=str(profile or ""),
    )


def check_budget(settings: Settings, plans: list[SpacePlan], *, share: float = 1.0) -> None:
    """Refuse a run that would cost more than ``RAG_MAX_RUN_COST_USD``.

    :param share: of the price that is paid.
    :raises BudgetExceededError: before anything is requested.
    """
    budget = settings.rag_max_run_cost_usd
    if budget is None:
        return
    cost = together(plan.cost_usd for plan in plans)
    if cost is None:
        unknown = next(plan for plan in plans if plan.cost_usd is None)
        raise BudgetExceededError(
            f"the price of {unknown.space.model} is not known, so that RAG_MAX_RUN_COST_USD cannot "
            f"be enforced; nothing was requested. Set {price_setting(unknown.role)}"
        )
    cost *= share
    if cost > budget:
        raise BudgetExceededError(
            f"this run would cost about ${cost:.4f}, more than RAG_MAX_RUN_COST_USD = "
            f"${budget:.4f}; nothing was requested. Raise the budget, or embed fewer verses (limit)"
        )


def _requests(
    texts: int, tokens: int, batch_size: int | None, settings: Settings, profile: Profile | None
) -> int:
    size = batch_size or settings.rag_embedding_batch_size
    if profile and profile.batch_limited:
        size = min(size, profile.largest_batch)
    return max(-(-texts // size), -(-tokens // request_tokens(settings.rag_embedding_token_limit)))


def batch_hours(tokens: int, settings: Settings) -> int:
    """The longest that batches take: a day for each round of what may be enqueued."""
    return -(-tokens // settings.rag_batch_enqueued_tokens) * BATCH_HOURS


def _minutes(requests: int, tokens: int, settings: Settings) -> float:
    if settings.rag_embedding_provider == "local":
        return tokens / _LOCAL_TOKENS_PER_S / (os.cpu_count() or 1) / 60
    if not settings.needs_key():
        return 0.0
    in_flight = requests * _TYPICAL_REQUEST_S / settings.rag_embedding_concurrency / 60
    return max(
        in_flight,
        requests / settings.rag_embedding_rate_limit,
        tokens / settings.rag_embedding_token_limit,
    )
