"""What the stages of a run do with documents: take their chunks as stored, or read the file,
and embed them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol

from rag_assets.documents.model import READER, Chunk, ChunkedDocument, in_context
from rag_assets.documents.sandbox import Extractor, cut_of
from rag_assets.documents.sql.documents import lacks_vectors, stored_document
from rag_assets.documents.sql.queue import Claimed
from rag_assets.embedding.batching import Text, estimate_tokens, text_hash
from rag_assets.embedding.purchase import Purchaser
from rag_assets.errors import BudgetExceededError, InputRejectedError
from rag_assets.postgres.database import Connection
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import cost_of, price_setting, together
from rag_assets.vectors.sql.spaces import Space


class Files(Protocol):
    """What is needed of an inbox."""

    def fetch(self, path: str) -> AbstractContextManager[BinaryIO]:
        """One of its files, or a copy of it on this machine, open at its beginning.

        :raises InboxUnavailableError: it cannot be had now.
        """


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is ready to be embedded.

    :param texts: of its chunks as they are embedded, with their hashes.
    :param seconds: wall time by stage.
    :param chunking: how it was cut up, as :func:`chunking_of` says.
    """

    claimed: Claimed
    document: ChunkedDocument
    texts: tuple[Text, ...]
    seconds: Mapping[str, float]
    chunking: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A document that is searchable as it is."""

    claimed: Claimed


@dataclass(frozen=True, slots=True)
class Failed:
    """A document on which the work has ended without success."""

    claimed: Claimed
    error: Exception


def chunking_of(settings: Settings) -> str:
    """The reader and how the settings cut documents up; stored with each, to know when to re-read.

    The reader stands before the colon: documents of another one are found by it.
    """
    ocr = ", ocr" if settings.rag_documents_ocr else ""
    size, overlap = settings.rag_max_chunk_size, settings.rag_chunk_overlap
    context = ", in context" if settings.rag_chunk_context else ""
    return f"{READER}: {size} tokens, overlap {overlap}{ocr}{context}"


def take_stored(
    connection: Connection, claimed: Claimed, spaces: Sequence[Space], settings: Settings
) -> Prepared | Unchanged | None:
    """A document whose stored chunks are those of its file; ``None`` for any other.

    Prepared where only vectors are missing: it was withdrawn meanwhile, or another model was set.
    """
    if claimed.stored_hash != claimed.content_hash or claimed.chunking != chunking_of(settings):
        return None
    if not lacks_vectors(connection, claimed.document_id, spaces):
        return Unchanged(claimed)
    document = stored_document(connection, claimed.document_id)
    return prepared(claimed, document, {}, settings) if document else None


def read_file(files: Files, extractor: Extractor, claimed: Claimed, settings: Settings) -> Prepared:
    """Read a document's file and cut it up. It is opened once: what is hashed is what is read.

    :raises DocumentError: it cannot be made searchable.
    :raises InboxUnavailableError: the file cannot be had, or is not the one that was scanned.
    :raises ExtractionInterruptedError: the child that read it ended.
    """
    started = time.monotonic()
    with files.fetch(claimed.path) as file:
        fetched_s = time.monotonic() - started
        document = extractor.extract(file, claimed.path, claimed.content_hash, cut_of(settings))
    return prepared(claimed, document, {"fetch": fetched_s, **document.seconds}, settings)


def prepared(
    claimed: Claimed, document: ChunkedDocument, seconds: Mapping[str, float], settings: Settings
) -> Prepared:
    """With the texts that are embedded, and their hashes."""
    texts = (
        in_context(document.title, chunk) if settings.rag_chunk_context else chunk.text
        for chunk in document.chunks
    )
    return Prepared(
        claimed,
        document,
        tuple(Text(text_hash(text), text) for text in texts),
        seconds,
        chunking_of(settings),
    )


@dataclass(frozen=True, slots=True)
class Embedded:
    """A prepared document whose vectors are all answered or known.

    :param embedded: its chunks whose vectors in the small space were requested now.
    :param cost_usd: of those, and of the large space's.
    """

    prepared: Prepared
    embedded: int
    cost_usd: float | None

    @property
    def claimed(self) -> Claimed:
        """The document, as it was claimed."""
        return self.prepared.claimed


async def embed(
    purchasers: Sequence[Purchaser], window: Sequence[Prepared], settings: Settings
) -> list[Embedded | Failed]:
    """Obtain the vectors of these documents' texts; return each document, in order.

    A document with a text that the provider refuses has failed.

    :param purchasers: one a space, the small one first.
    :raises BudgetExceededError: the run has cost all that it may.
    :raises RagAssetsError: the provider's errors; answers until then are kept.
    """
    _check_budget(purchasers, settings)
    started = time.monotonic()
    texts = [text for prepared in window for text in prepared.texts]
    fresh_hashes = [set(await purchaser.obtain(texts)) for purchaser in purchasers]
    seconds = time.monotonic() - started
    done: list[Embedded | Failed] = []
    for one in window:
        prepared = replace(one, seconds={**one.seconds, "embed": seconds})
        error = next(filter(None, (_refusal(prepared, each) for each in purchasers)), None)
        if error:
            done.append(Failed(prepared.claimed, error))
        else:
            done.append(_count(prepared, purchasers, fresh_hashes))
    return done


def _count(
    prepared: Prepared, purchasers: Sequence[Purchaser], fresh_hashes: Sequence[set[bytes]]
) -> Embedded:
    """Count a text that several documents share for the first of them."""
    tokens_of = {
        text.hash: chunk.tokens + _tokens_of_context(text, chunk)
        for text, chunk in zip(prepared.texts, prepared.document.chunks, strict=True)
    }
    costs, counts = [], []
    for purchaser, fresh in zip(purchasers, fresh_hashes, strict=True):
        own = fresh & tokens_of.keys()
        fresh.difference_update(own)
        counts.append(len(own))
        tokens = sum(tokens_of[key] for key in own)
        costs.append(cost_of(tokens, purchaser.space.usd_per_million_tokens))
    return Embedded(prepared, counts[0], together(costs))


def _tokens_of_context(text: Text, chunk: Chunk) -> int:
    """Estimated: counting takes a vocabulary, which only reading processes hold."""
    before = text.text.removesuffix(chunk.text)
    return estimate_tokens(before) if before else 0


def _refusal(prepared: Prepared, purchaser: Purchaser) -> InputRejectedError | None:
    rejected = purchaser.purchase.rejected
    for position, text in enumerate(prepared.texts, start=1):
        if text.hash in rejected:
            page = prepared.document.chunks[position - 1].page
            where = f"passage {position}" + (f" (page {page})" if page is not None else "")
            return InputRejectedError(
                f"{prepared.claimed.path}: the provider refuses {where}: "
                f"{rejected[text.hash][1]}. Change the passage, or leave the document out"
            )
    return None


def _check_budget(purchasers: Sequence[Purchaser], settings: Settings) -> None:
    most = settings.rag_max_run_cost_usd
    if most is None:
        return
    for one in purchasers:
        if one.space.usd_per_million_tokens is None:
            raise BudgetExceededError(
                f"the price of {one.space.spec.model} is not known, so that RAG_MAX_RUN_COST_USD "
                f"cannot be enforced; nothing was requested. Set {price_setting(one.space.role)}"
            )
    spent = together(purchaser.purchase.cost_usd for purchaser in purchasers) or 0.0
    if spent >= most > 0:
        raise BudgetExceededError(
            f"the run has spent ${spent:.4f}, and RAG_MAX_RUN_COST_USD is ${most:.4f}: finished "
            "embeddings are kept, the remaining documents wait for another run"
        )
