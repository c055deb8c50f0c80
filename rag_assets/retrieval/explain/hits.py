"""Why each hit is there: its source, its vector, and its rank after each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from rag_assets.bible.limits import reading_limits
from rag_assets.bible.locate import SourceLine, VerseKey, lines_of
from rag_assets.errors import CorpusError
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.explain.model import ExplainedHit, Ranks, Why
from rag_assets.retrieval.explain.standing import Standing
from rag_assets.retrieval.hits import Hit
from rag_assets.retrieval.ranking import Row
from rag_assets.retrieval.search import Trace
from rag_assets.retrieval.sql.provenance import Provenance, provenance
from rag_assets.retrieval.sql.verses import FoundVerse
from rag_assets.settings.model import Settings


def explained_hits(
    connection: Connection,
    settings: Settings,
    release_id: int,
    trace: Trace,
    hits: Sequence[Hit],
    standings: Sequence[Standing],
    *,
    timeout_ms: int = 0,
) -> tuple[ExplainedHit, ...]:
    """The hits of a search, each with its best row's source and ranks.

    :param hits: as they are shown.
    :param standings: of these rows, for each corpus.
    """
    best = [members[0] for members in trace.ranked.groups[: len(hits)]]
    known = [
        provenance(
            connection,
            found.side.target.table,
            [row for place, row in best if place == corpus],
            timeout_ms=timeout_ms,
        )
        for corpus, found in enumerate(trace.results)
    ]
    verses = [
        passage
        for place, row in best
        if isinstance(passage := trace.results[place].passages[row], FoundVerse)
    ]
    lines = _lines(settings, verses)
    return tuple(
        ExplainedHit(
            hit,
            _why(
                release_id,
                trace,
                row,
                known[row[0]].get(row[1]),
                lines,
                _ranks(trace, row, hit.rank, standings),
            ),
        )
        for hit, row in zip(hits, best, strict=True)
    )


def _ranks(trace: Trace, row: Row, rank: int, standings: Sequence[Standing]) -> Ranks:
    place, number = row
    found = trace.results[place]
    return Ranks(
        exact=standings[place].exact.get(number),
        vector=_rank(found.nearest, number),
        text=_rank(found.text_matches, number),
        fused=_rank(trace.ranked.order, row),
        grouped=rank,
    )


def _rank(order: Sequence[object], one: object) -> int | None:
    return order.index(one) + 1 if one in order else None


def _why(
    release_id: int,
    trace: Trace,
    row: Row,
    known: Provenance | None,
    lines: Mapping[tuple[str, VerseKey], SourceLine],
    ranks: Ranks,
) -> Why:
    """``known`` is ``None`` if the vector was replaced between the two statements."""
    found = trace.results[row[0]]
    passage = found.passages[row[1]]
    source, line = known.source if known else "", None
    if isinstance(passage, FoundVerse):
        key = passage.book, passage.chapter, passage.verse
        at = lines.get((passage.version_code, key))
        source = f"{passage.version_code}/{at.file}" if at else passage.version_code
        line = at.line if at else None
    spec = found.side.target.table.space.spec
    return Why(
        source=source,
        line=line,
        page=known.page if known else None,
        text_hash=known.text_hash if known else "",
        run_id=known.run_id if known else "",
        model=f"{spec.provider}/{spec.model}",
        cost_usd=known.cost_usd if known else None,
        generation=found.plan.generation,
        release=release_id,
        ranks=ranks,
    )


def _lines(
    settings: Settings, verses: Sequence[FoundVerse]
) -> dict[tuple[str, VerseKey], SourceLine]:
    """The verses' places in the versions' files, as far as these are on this machine."""
    wanted: dict[str, set[VerseKey]] = {}
    for verse in verses:
        wanted.setdefault(verse.version_code, set()).add((verse.book, verse.chapter, verse.verse))
    found: dict[tuple[str, VerseKey], SourceLine] = {}
    most_bytes = reading_limits(settings).most_bytes
    for code, keys in wanted.items():
        with suppress(CorpusError, OSError):
            at = lines_of(settings.rag_bibles_dir / code, keys, most_bytes=most_bytes)
            found |= {(code, key): line for key, line in at.items()}
    return found
