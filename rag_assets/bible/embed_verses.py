"""Embed the verses of one version: find what is stale, request it once, audit and publish it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from rag_assets.bible.sql import embeddings as verse_embeddings
from rag_assets.bible.sql.embeddings import StaleVerse
from rag_assets.bible.sql.verses import ai_allowed
from rag_assets.embedding.batch_choice import Requests, choose
from rag_assets.embedding.batch_lane import BatchLane
from rag_assets.embedding.batching import Text
from rag_assets.embedding.embedder import check_key
from rag_assets.embedding.profile import Profile
from rag_assets.embedding.purchase import Purchaser, open_purchaser
from rag_assets.embedding.requests import Purchase
from rag_assets.embedding.sql.batches import next_attempt, open_batches, waiting_texts
from rag_assets.embedding.sql.purchases import LedgerKey, without_answer
from rag_assets.embedding.sql.waits import begin_wait, end_wait
from rag_assets.errors import AuditError, ConfigurationError, PolicyError
from rag_assets.interrupts import run_async
from rag_assets.postgres import locks
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import ROLES, Role, Space, register_space

VERIFIED_SAMPLE = 100
"""Unverified vectors of a version that are embedded again: when all of them agree, fewer than 3 in
100 of the others are wrong, with 95 % confidence."""

Mode = Literal["only_missing", "overwrite"]


@dataclass(frozen=True)
class EmbedOptions:
    """One run's choices; ``None`` means the setting's value.

    :param mode: ``only_missing`` embeds what is missing or changed; ``overwrite`` all of it again.
    :param limit: at most this many verses, from the start: a sanity batch.
    :param requests: live, by the provider's batches, or what suits.
    :param roles: the spaces to fill.
    """

    mode: Mode = "only_missing"
    requests: Requests = "live"
    limit: int | None = None
    batch_size: int | None = None
    sleep_s: float | None = None
    max_retries: int | None = None
    timeout_s: float | None = None
    roles: Sequence[Role] = ROLES

    def as_choices(self) -> dict[str, object]:
        """What was chosen, as a run's launchpad takes it."""
        chosen = {
            "mode": self.mode,
            "requests": self.requests,
            "limit": self.limit,
            "batch_size": self.batch_size,
            "sleep": self.sleep_s,
            "max_retries": self.max_retries,
            "timeout": self.timeout_s,
            "spaces": "both" if len(self.roles) > 1 else self.roles[0],
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def applied_to(self, settings: Settings) -> Settings:
        """The settings, with what this run chose instead."""
        chosen = {
            "rag_embedding_batch_size": self.batch_size or None,
            "rag_embedding_delay_ms": None if self.sleep_s is None else self.sleep_s * 1000,
            "rag_embedding_max_retries": self.max_retries,
            "rag_embedding_timeout_s": self.timeout_s or None,
        }
        return settings.model_copy(
            update={name: value for name, value in chosen.items() if value is not None}
        )


def chosen_roles(*, small_only: bool, large_only: bool) -> tuple[Role, ...]:
    """The spaces of one run.

    :raises ConfigurationError: both of them alone.
    """
    if small_only and large_only:
        raise ConfigurationError("small_only and large_only exclude each other: set one")
    return ("small",) if small_only else ("large",) if large_only else ROLES


@dataclass(frozen=True)
class SpaceReport:
    """What one run did for one version in one space. Counts are verses unless stated otherwise.

    :param rows: the version's vectors in the space afterwards.
    :param accepted: vectors that no embedding run had written, kept because a sample agreed.
    :param waiting: texts in the provider's batches; the version is published when they are there.
    :param due_at: by when.
    """

    space: Space
    rows: int
    stale: int
    embedded: int
    reused: int
    rejected: tuple[str, ...]
    requests: int
    retries: int
    rate_limited: int
    tokens: int
    cost_usd: float | None
    seconds: float
    accepted: int = 0
    provider: str = ""
    waiting: int = 0
    due_at: datetime | None = None


def embed_version(
    database: Database,
    settings: Settings,
    version_code: str,
    options: EmbedOptions,
    role: Role,
    *,
    run_id: str,
    progress: Progress | None = None,
) -> SpaceReport:
    """Embed one version in the space of one role.

    Two runs on one version take turns; two runs that need the same text request it once.

    :raises PolicyError: the version does not declare ``ai_allowed = true``.
    :raises ConfigurationError: the version is not loaded, or there is no key.
    :raises RagAssetsError: the provider's errors; what was answered until then is kept.
    """
    progress = progress or Silent()
    started = time.monotonic()
    with database.connect(autocommit=True) as session:
        check_policy(session, version_code)
        check_key(settings)
        space = register_space(session, settings, role)
        waited = f"another run is embedding {version_code} in {space.spec}: waiting for it"
        lock = locks.publishing_version(space.space_id, version_code)
        with locks.held(session, lock, waiting=lambda: progress.say(waited)):
            key = LedgerKey(run_id, "bible", version_code)
            job = _Job(database, settings, space, options, key, progress)
            purchase, accepted = Purchase(), 0
            if options.mode == "only_missing" and options.limit is None:
                accepted = _verify(session, job, version_code, purchase)
            paid = job.take_in(session)
            stale = verse_embeddings.stale_verses(
                session, space, version_code,
                every=options.mode == "overwrite", run_id=run_id, limit=options.limit,
            )  # fmt: skip
            outcome = _embed_stale(session, job, version_code, stale, paid)
            purchase.add(paid)
            rejected = verse_embeddings.failures(session, space, version_code)
            rows = verse_embeddings.count(session, space, version_code)
    return SpaceReport(
        space=space,
        rows=rows,
        stale=len(stale),
        embedded=outcome.embedded,
        reused=outcome.reused,
        rejected=rejected,
        requests=purchase.requests,
        retries=purchase.retries,
        rate_limited=purchase.rate_limited,
        tokens=purchase.tokens,
        cost_usd=purchase.cost_usd,
        seconds=time.monotonic() - started,
        accepted=accepted,
        provider=str(purchase.profile or ""),
        waiting=outcome.waiting,
        due_at=outcome.due_at,
    )


@dataclass(frozen=True)
class _Outcome:
    """What became of a version's stale verses: published, or waiting for batches."""

    embedded: int = 0
    reused: int = 0
    waiting: int = 0
    due_at: datetime | None = None


def _embed_stale(
    session: Connection,
    job: _Job,
    version_code: str,
    stale: Sequence[StaleVerse],
    paid: Purchase,
) -> _Outcome:
    """Request the verses' texts, and publish the version unless some are in batches.

    :param paid: for what batches have answered; the rest is added to it.
    """
    outcome = _Outcome()
    if stale:
        paid.add(job.request(session, stale))
        texts = list({verse.text_hash for verse in stale})
        waiting, due_at = waiting_texts(session, job.space, texts)
        if waiting:
            job.wait(session)
            return _Outcome(waiting=waiting, due_at=due_at)
        outcome = _Outcome(*_publish(session, job, version_code, stale, paid))
    if not open_batches(session, version_code, job.space.space_id):
        end_wait(session, job.space, version_code)
    return outcome


def check_policy(connection: Connection, version_code: str) -> None:
    """Refuse a version whose text may go to no provider.

    :raises ConfigurationError: its verses are not loaded.
    :raises PolicyError: it does not declare ``ai_allowed = true``.
    """
    allowed = ai_allowed(connection, version_code)
    if allowed is None:
        raise ConfigurationError(
            f"the verses of {version_code} are not loaded: materialize `verses` first"
        )
    if not allowed:
        raise forbidden(version_code)


def forbidden(version_code: str) -> PolicyError:
    """The error of a version whose text may go to no provider, with the line to add."""
    return PolicyError(
        f"{version_code} does not declare that its text may go to a provider: when its licence "
        f"allows it, add the line `ai_allowed = true` to {version_code}/version.toml and "
        "materialize `verses` again"
    )


@dataclass(frozen=True)
class _Job:
    database: Database
    settings: Settings
    space: Space
    options: EmbedOptions
    ledger_key: LedgerKey
    progress: Progress

    def take_in(self, session: Connection) -> Purchase:
        """Take in what batches have answered, also for texts that the version has no more."""
        if open_batches(session, self.ledger_key.partition_key, self.space.space_id):
            return self._lane(session).take_in()
        return Purchase()

    def request(self, session: Connection, stale: Sequence[StaleVerse]) -> Purchase:
        """Request what no batch has answered, by another batch or live."""
        version = self.ledger_key.partition_key
        if self.options.requests != "live":
            wanted = self._wanted(session, stale)
            attempt = next_attempt(session, self.space, version)
            if wanted:
                choice = choose(self.settings, self.options.requests, len(wanted), attempt)
                self.progress.say(f"{version} {self.space.role}: {choice.why}")
                if choice.batch:
                    lane = self._lane(session)
                    self.wait(session)  # before: a run that is killed in between is gone on with
                    lane.submit(wanted, attempt)
        return run_async(self.obtain(session, stale))

    def wait(self, session: Connection) -> None:
        """Have the sensor go on when the batches have ended."""
        key = self.ledger_key
        options = self.options.as_choices()
        begin_wait(session, self.space, key.partition_key, key.run_id, options)

    def _wanted(self, session: Connection, stale: Sequence[StaleVerse]) -> list[Text]:
        """The texts that are neither known nor in a batch."""
        by_hash = {verse.text_hash: verse.text for verse in stale}
        missing = without_answer(
            session,
            self.space,
            list(by_hash),
            published_counts=self.options.mode != "overwrite",
        )
        return [Text(key, by_hash[key]) for key in missing]

    def _lane(self, session: Connection) -> BatchLane:
        return BatchLane(
            self.database,
            session,
            self.options.applied_to(self.settings),
            space=self.space,
            ledger_key=self.ledger_key,
            profile=run_async(self._profile(session)),
            progress=self.progress,
        )

    async def _profile(self, session: Connection) -> Profile:
        """What the server does, as stored or by a probe."""
        async with self._purchaser(session) as purchaser:
            return await purchaser.profile() or Profile()

    async def obtain(
        self, session: Connection, stale: Sequence[StaleVerse], *, overwrite: bool = False
    ) -> Purchase:
        """Request the texts without an answer, and wait for those that another run requests."""
        task = f"{self.ledger_key.partition_key} {self.space.role}"
        async with self._purchaser(session, overwrite=overwrite) as purchaser:
            await purchaser.obtain(
                [Text(verse.text_hash, verse.text) for verse in stale],
                wanted=lambda count: self.progress.start(task, count),
            )
            return purchaser.purchase

    def _purchaser(
        self, session: Connection, *, overwrite: bool = False
    ) -> AbstractAsyncContextManager[Purchaser]:
        return open_purchaser(
            self.database,
            session,
            self.options.applied_to(self.settings),
            space=self.space,
            ledger_key=self.ledger_key,
            progress=self.progress,
            overwrite=overwrite or self.options.mode == "overwrite",
        )


def _verify(session: Connection, job: _Job, version_code: str, purchase: Purchase) -> int:
    """Embed a sample of the vectors that no run has written; keep all of them when it agrees.

    When it does not, all are stale, and the answers to the sample are used to replace them.

    :param purchase: what the sample cost is added to it.
    :returns: vectors accepted.
    """
    space = job.space
    sample = verse_embeddings.unverified_sample(session, space, version_code, VERIFIED_SAMPLE)
    if not sample:
        return 0
    job.progress.say(
        f"{version_code}: vectors in {space.spec} were not written by an embedding run: embedding "
        f"{len(sample)} of them again to compare"
    )
    purchase.add(run_async(job.obtain(session, sample, overwrite=True)))
    ids = [verse.verse_id for verse in sample]
    agreeing = verse_embeddings.count_agreeing(session, space, ids)
    if agreeing < len(sample):
        job.progress.say(
            f"{version_code}: {len(sample) - agreeing} of {len(sample)} differ from what the model "
            "answers: all that no run has written are replaced"
        )
        return 0
    with session.transaction():
        verse_embeddings.publish(session, space, version_code, ids, run_id=job.ledger_key.run_id)
        return verse_embeddings.accept_unverified(session, space, version_code) + len(ids)


def _publish(
    session: Connection,
    job: _Job,
    version_code: str,
    stale: Sequence[StaleVerse],
    purchase: Purchase,
) -> tuple[int, int]:
    """Publish in one transaction; (verses with a new vector, verses with a known one)."""
    with session.transaction():
        published = verse_embeddings.publish(
            session,
            job.space,
            version_code,
            [verse.verse_id for verse in stale],
            run_id=job.ledger_key.run_id,
            refused=list(purchase.rejected),
        )
        verse_embeddings.record_failures(
            session, job.space, stale, purchase.rejected, run_id=job.ledger_key.run_id
        )
        total = published.from_answers + published.reused
        wanted = sum(verse.text_hash not in purchase.rejected for verse in stale)
        if total < wanted:
            raise AuditError(
                f"{version_code}: {wanted} verses were to get a vector, {total} would: their texts "
                "changed meanwhile. Nothing was published; finished embeddings are kept. "
                "Run it again"
            )
    embedded = min(total, purchase.inputs)
    return embedded, total - embedded
