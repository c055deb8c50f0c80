"""Embed a sample of the stored texts again, within a budget, and compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, zip_longest

from rag_assets.audit.model import Difference
from rag_assets.audit.sql.samples import (
    SampledText,
    disagreeing,
    forget_answers,
    sample_texts,
    texts_of,
)
from rag_assets.embedding.batching import BYTES_PER_TOKEN, Text
from rag_assets.embedding.embedder import check_key
from rag_assets.embedding.purchase import open_purchaser
from rag_assets.embedding.requests import Purchase
from rag_assets.embedding.sql.purchases import LedgerKey, tokens_per_byte
from rag_assets.errors import RagAssetsError
from rag_assets.interrupts import run_async
from rag_assets.postgres.database import Connection, Database
from rag_assets.postgres.database import one as one_row
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import price_setting, together
from rag_assets.vectors.sql.tables import VectorTable

SUSPECT = ("another_model", "wrong_code")
"""Differences of which a few rows are always embedded: the other model may be the same one under
another name, and where a code is not its vector's, it may be the vector that is wrong."""
_SUSPECTS = 5


@dataclass(frozen=True)
class Sampled:
    """Result of a sample.

    :param differences: rows whose vector is not the embedding of their text.
    :param denied: by table, rows that seemed to be another model's, in scopes where they are right.
    """

    differences: tuple[Difference, ...] = ()
    denied: Mapping[VectorTable, frozenset[int]] = field(default_factory=dict)
    texts: int = 0
    cost_usd: float | None = 0.0
    notes: tuple[str, ...] = ()


def tokens_of(connection: Connection, table: VectorTable, texts: Iterable[SampledText]) -> int:
    """Tokens of the distinct texts, at the ratio of this space's answers so far."""
    distinct = {text.text_hash: text.text for text in texts}
    size = sum(len(text.encode()) for text in distinct.values())
    return round(size * _tokens_per_byte(connection, table))


def _tokens_per_byte(connection: Connection, table: VectorTable) -> float:
    return tokens_per_byte(connection, table.space) or 1 / BYTES_PER_TOKEN


def embed_again(
    database: Database,
    session: Connection,
    settings: Settings,
    table: VectorTable,
    texts: Sequence[SampledText],
    *,
    scope: str,
    run_id: str,
    overwrite: bool,
    progress: Progress,
) -> Purchase:
    """Obtain the vectors of texts as answers, with the limits, retries and ledger of any run.

    :param overwrite: a stored vector of the same text does not count.
    """

    async def obtain() -> Purchase:
        async with AsyncExitStack() as stack:
            purchaser = await stack.enter_async_context(
                open_purchaser(
                    database,
                    session,
                    settings,
                    space=table.space,
                    ledger_key=LedgerKey(run_id, table.corpus, scope),
                    progress=progress,
                    overwrite=overwrite,
                )
            )
            await purchaser.obtain([Text(text.text_hash, text.text) for text in texts])
            return purchaser.purchase

    check_key(settings)
    return run_async(obtain())


def compare_sample(
    database: Database,
    session: Connection,
    settings: Settings,
    scopes: Mapping[VectorTable, Sequence[str]],
    suspects: Sequence[Difference],
    *,
    count: int,
    run_id: str,
    keep_answers: bool,
    progress: Progress,
) -> Sampled:
    """Embed up to ``count`` texts of each scope again, within RAG_AUDIT_BUDGET_USD.

    :param session: autocommits.
    :param suspects: differences of the kinds :data:`SUSPECT`.
    :param keep_answers: keep the answers that differ from what is stored, for a repair.
    """
    (seed,) = one_row(session.execute("SELECT current_date - date '2000-01-01'"))
    result = Sampled()
    for table, names in scopes.items():
        doubted = [
            texts_of(session, table, one.ids[: max(count, _SUSPECTS)])
            for one in suspects
            if one.table == table
        ]
        drawn = [sample_texts(session, table, name, count, seed=seed) for name in names]
        chosen, note = _within_budget(session, settings, table, [*doubted, *drawn], result.cost_usd)
        if note:
            result = _added(result, notes=(note,))
        if not chosen:
            continue
        (started,) = one_row(session.execute("SELECT clock_timestamp()"))
        progress.start(f"embedding texts of {table.name} again", len(chosen))
        try:
            purchase = embed_again(
                database, session, settings, table, chosen,
                scope="audit", run_id=run_id, overwrite=True, progress=progress,
            )  # fmt: skip
        except RagAssetsError as error:
            result = _added(result, notes=(f"{table}: no text was embedded again: {error}",))
            continue
        found = _judged(session, table, chosen, suspects, started, keep_answers=keep_answers)
        result = _added(
            result,
            found.differences,
            found.denied,
            len({text.text_hash for text in chosen}),
            purchase.cost_usd,
        )
    return result


def _judged(
    session: Connection,
    table: VectorTable,
    chosen: Sequence[SampledText],
    suspects: Sequence[Difference],
    started: datetime,
    *,
    keep_answers: bool,
) -> Sampled:
    hashes = list({text.text_hash for text in chosen})
    found = disagreeing(session, table, hashes)
    wrong = {id_ for rows in found for id_ in rows.ids}
    differing = {text.text_hash for text in chosen if text.row_id in wrong}
    forget_answers(
        session,
        table,
        [key for key in hashes if not (keep_answers and key in differing)],
        since=started,
    )
    sampled = {text.row_id for text in chosen}
    denied = frozenset(
        id_
        for one in suspects
        if (one.kind, one.table) == ("another_model", table)
        and sampled & set(one.ids)
        and not wrong & set(one.ids)
        for id_ in one.ids
    )
    differences = tuple(
        Difference(
            "not_its_text", rows.scope, len(rows.ids), table, tuple(rows.ids),
            examples=tuple(rows.examples),
        )
        for rows in found
    )  # fmt: skip
    return Sampled(differences, {table: denied} if denied else {})


def _within_budget(
    session: Connection,
    settings: Settings,
    table: VectorTable,
    samples: Sequence[Sequence[SampledText]],
    spent: float | None,
) -> tuple[list[SampledText], str]:
    """Take from each scope in turn while the budget lasts; say what it does not allow."""
    in_turn = [text for text in chain.from_iterable(zip_longest(*samples)) if text is not None]
    price = table.space.usd_per_million_tokens
    if not in_turn or price == 0:
        return in_turn, ""
    if price is None or spent is None:
        return [], (
            f"{table}: no text was embedded again, because its price is unknown: set "
            f"{price_setting(table.space.role)}"
        )
    left = settings.rag_audit_budget_usd - spent
    usd_per_byte = _tokens_per_byte(session, table) * price / 1e6
    chosen: list[SampledText] = []
    for text in in_turn:
        cost = len(text.text.encode()) * usd_per_byte
        if cost > left:
            break
        left -= cost
        chosen.append(text)
    note = ""
    if len(chosen) < len(in_turn):
        note = (
            f"{table}: {len(chosen)} of {len(in_turn)} sampled texts were embedded again "
            "(RAG_AUDIT_BUDGET_USD)"
        )
    return chosen, note


def _added(
    result: Sampled,
    differences: Sequence[Difference] = (),
    denied: Mapping[VectorTable, frozenset[int]] | None = None,
    texts: int = 0,
    cost_usd: float | None = 0.0,
    notes: Sequence[str] = (),
) -> Sampled:
    return Sampled(
        (*result.differences, *differences),
        {**result.denied, **(denied or {})},
        result.texts + texts,
        together((result.cost_usd, cost_usd)),
        (*result.notes, *notes),
    )
