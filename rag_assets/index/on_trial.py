"""What the next release would search, presented as if it were released."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.measuring import target_of
from rag_assets.index.sql import generations
from rag_assets.index.sql.generations import index_subject
from rag_assets.index.sql.text_weights import recorded_weights
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.plan import Target, codes_of
from rag_assets.retrieval.released import Served, ServedDocuments, served_on_trial
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.retrieval.sql.chunks import chunks_by_corpus
from rag_assets.retrieval.sql.full_text import collect_statistics, drop_statistics
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.served import ReleasedText
from rag_assets.vectors.sql.tables import Corpus, VectorTable, revision


@dataclass(frozen=True)
class Candidate:
    """What the next release would search of one corpus."""

    table: VectorTable
    target: Target
    subject: str
    revision: int


def candidates(connection: Connection, settings: Settings) -> list[Candidate]:
    """Of the corpora that an index was decided on for; the Bible first."""
    corpora: Sequence[Corpus] = "bible", "documents"
    found = [_candidate(connection, settings, corpus) for corpus in corpora]
    return [one for one in found if one is not None]


def _candidate(connection: Connection, settings: Settings, corpus: Corpus) -> Candidate | None:
    tables = indexed_tables(connection, settings, corpus)
    scopes = servable_scopes(connection, settings, tables[0]) if tables else {}
    decision = generations.last_decision(connection, tables[0]) if scopes else None
    if decision is None:
        return None
    table = tables[0]
    ready = {made.number: made for made in generations.ready_generations(connection, table)}
    generation = ready.get(decision.generation) if decision.generation else None
    use = generation.codes if generation else decision.codes
    codes = codes_of(connection, table, use)
    return Candidate(
        table,
        target_of(table, scopes, generation, settings.pg_ivfflat_probes, codes),
        index_subject(decision.generation, use),
        revision(connection, table).number,
    )


@contextmanager
def on_trial(
    connection: Connection, settings: Settings, candidates: Sequence[Candidate]
) -> Iterator[Served]:
    """The candidates presented as if they were released, with their words counted."""
    served = served_on_trial(connection, candidates[0].target)
    counted = []
    try:
        for one in candidates:
            corpus = one.table.corpus
            counted.append(collect_statistics(connection, corpus, list(one.target.scopes)))
            text = ReleasedText(
                counted[-1],
                settings.rag_text_weight,
                settings.rag_text_depth,
                recorded_weights(connection, candidates[0].table),
            )
            if corpus == "bible":
                served = replace(served, text=text)
            else:
                counts = chunks_by_corpus(connection)
                documents = ServedDocuments(one.target, None, counts, text=text)
                served = replace(served, documents=documents)
        yield served
    finally:
        drop_statistics(connection, counted)
