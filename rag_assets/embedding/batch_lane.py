"""Embedding by the provider's batches: half the price, answered within a day.

Each step can be killed and is then repeated without paying twice. Texts are reserved before a batch
is begun, so that no other run requests them; a batch whose beginning was not recorded is found by
its token; a line of results is kept, entered in the ledger and freed in one transaction.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rag_assets.embedding.batching import Batch, Text, batches, estimate_tokens
from rag_assets.embedding.profile import Profile
from rag_assets.embedding.providers.answers import RawAnswer, matched
from rag_assets.embedding.requests import Purchase
from rag_assets.embedding.sql import batches as stored
from rag_assets.embedding.sql.batches import Line, StoredBatch
from rag_assets.embedding.sql.purchases import LedgerEntry, LedgerKey, keep_answers
from rag_assets.embedding.throttle import key_name
from rag_assets.errors import (
    ConfigurationError,
    ProviderAnswerError,
    ProviderUnavailableError,
    RagAssetsError,
)
from rag_assets.postgres import locks
from rag_assets.postgres.database import AsyncConnection, Connection, Database
from rag_assets.progress import Progress, Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import BATCH_PRICE, cost_of
from rag_assets.vectors.sql.spaces import Space
from rag_assets.visible import count

if TYPE_CHECKING:
    from rag_assets.embedding.providers.batch_api import BatchApi, BatchState

MAX_INPUTS = 50_000
"""Inputs in one batch (OpenAI API reference, batches)."""
MAX_BYTES = 190_000_000
"""Bytes in one file of requests; OpenAI takes 200 MB."""
PATIENCE = timedelta(minutes=5)
"""After which a batch that could not be begun, or a run that failed, is tried again."""
_QUEUE_FULL = "token_limit_exceeded"  # OpenAI's code where its queue has no room


@contextmanager
def open_api(settings: Settings, name: str | None = None) -> Iterator[tuple[BatchApi, str]]:
    """The batches of a key, and the key's name.

    :param name: of the key that began a batch; ``None`` for the first one.
    :raises ConfigurationError: the settings no longer have that key.
    """
    keys = {key_name(key): key for key in settings.api_keys()}
    if name is not None and name not in keys:
        raise ConfigurationError(
            f"the API key {name}, with which a batch was begun, is not in the settings any more: "
            "put it back until the batch has ended, or give the batch up (`rag-assets batches`)"
        )
    if not keys:
        raise ConfigurationError("there is no API key to ask for batches with: set OPENAI_API_KEY")
    chosen = name or next(iter(keys))
    # Late: importing openai takes half a second that most commands need not wait for.
    from rag_assets.embedding.providers.batch_api import BatchApi  # noqa: PLC0415

    api = BatchApi(
        base_url=settings.openai_base_url,
        key=keys[chosen],
        timeout_s=settings.rag_embedding_timeout_s,
    )
    with closing(api):
        yield api, chosen


def follow(connection: Connection, settings: Settings) -> tuple[StoredBatch, ...]:
    """Ask the provider about each open batch, and record its answer; the batches, as they stand.

    An error concerns its batch alone, and is recorded as its message.
    """
    for batch in stored.open_batches(connection):
        if batch.state == "submitted" and batch.provider_id:
            try:
                with open_api(settings, batch.key_name) as (api, _):
                    _record(connection, batch.batch_id, api.retrieve(batch.provider_id))
            except RagAssetsError as error:
                stored.mark(connection, batch.batch_id, message=str(error))
    return stored.open_batches(connection)


def cancel(
    connection: Connection, settings: Settings, batch: StoredBatch, progress: Progress | None = None
) -> None:
    """End a batch early; what is answered is kept by the next run, the rest is free again."""
    if batch.state == "submitted":
        _cancel(connection, settings, batch)
        return
    with _turn(connection, batch, progress or Silent()) as now:
        if now.state in ("prepared", "submitted"):
            _cancel(connection, settings, now)


def give_up(connection: Connection, batch: StoredBatch, progress: Progress | None = None) -> int:
    """Forget a batch; how many texts are free again. Nothing, if a run closed it meanwhile."""
    with _turn(connection, batch, progress or Silent()) as now:
        if now.closed_at is not None:
            return 0
        return stored.close(connection, batch.batch_id, "given up")


@contextmanager
def _turn(connection: Connection, batch: StoredBatch, progress: Progress) -> Iterator[StoredBatch]:
    """The batch as it stands when no run is about to begin it, or takes its results in.

    Otherwise its texts would be free while a run begins it, and be paid for twice.
    """
    waited = f"a run is embedding {batch.version_code}: waiting for it"
    lock = locks.publishing_version(batch.space_id, batch.version_code)
    with locks.held(connection, lock, waiting=lambda: progress.say(waited)):
        yield stored.find_batch(connection, batch.batch_id) or batch


def _cancel(connection: Connection, settings: Settings, batch: StoredBatch) -> None:
    provider_id = batch.provider_id
    if provider_id is None and batch.submitting_at:  # the run that began it may have been killed
        with open_api(settings, batch.key_name) as (api, _):
            begun = api.find(str(batch.token), batch.submitting_at)
            provider_id = begun.provider_id if begun else None
    if provider_id is None:
        stored.close(connection, batch.batch_id, "given up", "cancelled before it was begun")
        return
    with open_api(settings, batch.key_name) as (api, _):
        stored.mark(connection, batch.batch_id, state="submitted", provider_id=provider_id)
        _record(connection, batch.batch_id, api.cancel(provider_id))


def _record(connection: Connection, batch_id: int, state: BatchState) -> None:
    ended = {"state": "ended", "ended_at": "now"} if state.ended else {}
    stored.mark(
        connection,
        batch_id,
        provider=state.status,
        output_file_id=state.output_file_id,
        due_at=state.due_at,
        message=state.code,
        **ended,
    )


class BatchLane:
    """The batches of one version in one space.

    :param session: autocommitting; it holds the lock by which runs on the version take turns.
    :param profile: what the server does.
    """

    def __init__(
        self,
        database: Database,
        session: Connection,
        settings: Settings,
        *,
        space: Space,
        ledger_key: LedgerKey,
        profile: Profile,
        progress: Progress,
    ) -> None:
        self._database = database
        self._session = session
        self._settings = settings
        self._space = space
        self._key = ledger_key
        self._profile = profile
        self._progress = progress

    def submit(self, texts: Sequence[Text], attempt: int) -> int:
        """Reserve the texts, and begin their batches; how many texts were reserved."""
        reserved = 0
        for file in _files(texts, self._settings):
            batch_id = stored.reserve(
                self._session,
                self._space,
                self._key.partition_key,
                file,
                run_id=self._key.run_id,
                attempt=attempt,
            )
            if batch_id is not None:
                reserved += sum(map(len, file))
                self._begin(batch_id)
        return reserved

    def take_in(self) -> Purchase:
        """Keep the results of the batches that have ended, and begin those that wait to be."""
        purchase = Purchase()
        for batch in stored.open_batches(
            self._session, self._key.partition_key, self._space.space_id
        ):
            if batch.state == "prepared":
                self._begin(batch.batch_id)
            elif batch.state == "ended":
                self._take(batch, purchase)
        return purchase

    def _begin(self, batch_id: int) -> None:
        """Upload the requests of a batch, and begin it, unless the provider's queue is full."""
        batch = stored.find_batch(self._session, batch_id)
        assert batch is not None  # noqa: S101
        with open_api(self._settings, batch.key_name) as (api, name):
            begun = batch.submitting_at and api.find(str(batch.token), batch.submitting_at)
            if begun:
                self._begun(batch_id, begun, name)
                return
            most = self._settings.rag_batch_enqueued_tokens
            queued = stored.tokens_enqueued(self._session, name)
            if queued and queued + batch.tokens > most:
                self._wait(batch_id, f"{queued:,} tokens are enqueued")
                return
            with tempfile.NamedTemporaryFile(prefix="rag-assets-", suffix=".jsonl") as file:
                if not self._write(batch, file):
                    stored.close(
                        self._session, batch_id, "done", "its version has its texts no more"
                    )
                    return
                file_id = api.upload(Path(file.name))
            stored.mark(self._session, batch_id, key_name=name, submitting_at="now")
            state = api.create(file_id, str(batch.token))
            if state.code == _QUEUE_FULL:
                self._wait(batch_id, "the provider's queue is full")
                return
            self._begun(batch_id, state, name)

    def _wait(self, batch_id: int, why: str) -> None:
        """Leave a batch prepared; under another token, since this one may be a refused batch's."""
        stored.postpone(self._session, batch_id, why)
        self._progress.say(f"batch {batch_id} waits: {why} (RAG_BATCH_ENQUEUED_TOKENS)")

    def _begun(self, batch_id: int, state: BatchState, name: str) -> None:
        stored.mark(
            self._session,
            batch_id,
            state="submitted",
            provider_id=state.provider_id,
            key_name=name,
            submitted_at="now",
        )
        _record(self._session, batch_id, state)
        due = f", due {state.due_at:%Y-%m-%d %H:%M} UTC" if state.due_at else ""
        self._progress.say(f"batch {batch_id} is under way at the provider{due}")

    def _write(self, batch: StoredBatch, file: IO[bytes]) -> int:
        """One request a line; how many."""
        from rag_assets.embedding.providers.openai_client import request_body  # noqa: PLC0415

        spec = self._space.spec
        lines = stored.lines_to_send(self._session, batch)
        for number, texts in lines.items():
            body = request_body([text.text for text in texts], spec, self._profile, "passage")
            line = {
                **{"custom_id": str(number), "method": "POST", "url": "/v1/embeddings"},
                "body": body,
            }
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        file.flush()
        return len(lines)

    def _take(self, batch: StoredBatch, purchase: Purchase) -> None:
        if (batch.provider, batch.message) == ("failed", _QUEUE_FULL):
            self._wait(batch.batch_id, "the provider's queue was full")
            return
        broken = False
        if batch.output_file_id:
            with (
                tempfile.TemporaryFile(prefix="rag-assets-") as file,
                open_api(self._settings, batch.key_name) as (api, name),
            ):
                try:
                    api.download(batch.output_file_id, file)
                except ProviderUnavailableError:
                    broken = True  # what came is kept first
                taken, whole = asyncio.run(self._keep_lines(batch, file, name, purchase))
                broken = broken or not whole
            self._progress.say(f"batch {batch.batch_id}: {count(taken, 'answer')} kept")
        if broken:
            raise ProviderUnavailableError(
                f"the results of batch {batch.batch_id} broke off; what came is kept, run it again"
            )
        failed = batch.provider == "failed"
        left = stored.close(self._session, batch.batch_id, "failed" if failed else "done")
        if left:
            why = f" ({batch.message})" if batch.message else ""
            self._progress.say(
                f"batch {batch.batch_id} ended {batch.provider}{why}: "
                f"{count(left, 'text')} have no answer and are requested again"
            )

    async def _keep_lines(
        self, batch: StoredBatch, file: IO[bytes], name: str, purchase: Purchase
    ) -> tuple[int, bool]:
        """Keep the results line by line; (answers kept, whether the file is whole)."""
        left = stored.unanswered_lines(self._session, batch.batch_id)
        self._progress.start(f"{batch.version_code} batch {batch.batch_id}", batch.texts)
        taken, read = 0, 0
        async with self._database.connect_async() as connection:
            file.seek(0)
            for line in file:
                result = _parsed(line)
                if result is None and not line.endswith(b"\n"):
                    break  # the last one broke off
                read += len(line)
                wanted = left.pop(_number(result), None)
                if wanted is None:
                    continue  # kept before, or not of this batch
                kept = await self._keep_line(connection, batch, result, wanted, name, purchase)
                taken += kept
                self._progress.advance(kept)
        return taken, file.seek(0, 2) == read and read > 0

    async def _keep_line(
        self,
        connection: AsyncConnection,
        batch: StoredBatch,
        result: object,
        wanted: Line,
        name: str,
        purchase: Purchase,
    ) -> int:
        response = result.get("response") if isinstance(result, dict) else None
        if not isinstance(response, dict) or response.get("status_code") != 200:
            return 0
        hashes = wanted.hashes
        try:
            raw = RawAnswer.of(response.get("body"))
            vectors, refused = matched(raw, len(hashes), self._space.spec, self._profile)
        except ProviderAnswerError as error:
            raise ProviderAnswerError(
                f"batch {batch.batch_id}: {error}. If they stay unusable, give it up: "
                f"`rag-assets batches give-up {batch.batch_id}`"
            ) from None
        tokens = raw.tokens or 0
        good = [place for place in range(len(hashes)) if place not in refused]
        kept = [hashes[place] for place in good]
        entry = LedgerEntry(
            name,
            requests=1,
            inputs=len(hashes),
            input_bytes=wanted.size,
            tokens=tokens,
            cost_usd=cost_of(tokens, self._space.usd_per_million_tokens, share=BATCH_PRICE),
        )
        key = replace(self._key, run_id=batch.run_id)
        async with connection.transaction():
            await stored.forget_answered(connection, batch, kept)
            await keep_answers(connection, self._space, kept, vectors[good], key, entry)
        purchase.add(Purchase(len(kept), 1, tokens=entry.tokens, cost_usd=entry.cost_usd))
        return len(kept)


def _parsed(line: bytes) -> object:
    """A line of results; ``None`` where it is damaged: its texts are requested again."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _number(result: object) -> int:
    """The number of the line that a result answers; -1 for none of ours."""
    name = str(result.get("custom_id")) if isinstance(result, dict) else ""
    return int(name) if name.isascii() and name.isdigit() else -1


def _files(texts: Sequence[Text], settings: Settings) -> Iterator[list[Batch]]:
    """Split texts into files of requests: by inputs, bytes, and tokens that may be enqueued."""
    file: list[Batch] = []
    inputs = size = tokens = 0
    for batch in batches(texts, settings.rag_embedding_batch_size):
        more = sum(len(json.dumps(text.text, ensure_ascii=False).encode()) for text in batch)
        cost = sum(estimate_tokens(text.text) for text in batch)
        if file and (
            inputs + len(batch) > MAX_INPUTS
            or size + more > MAX_BYTES
            or tokens + cost > settings.rag_batch_enqueued_tokens
        ):
            yield file
            file, inputs, size, tokens = [], 0, 0, 0
        file.append(batch)
        inputs, size, tokens = inputs + len(batch), size + more + 300, tokens + cost
    if file:
        yield file
