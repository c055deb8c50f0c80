"""Search: the one path from a query to hits, through what is released and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rag_assets.corpus.bible.books import Language, display_name
from rag_assets.errors import ConfigurationError
from rag_assets.retrieval.plan import Target, choose_plan
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.retrieval.released import served_now
from rag_assets.settings import Settings
from rag_assets.store.database import Database
from rag_assets.store.spaces import SpaceSpec
from rag_assets.store.vector_search import SearchPlan, nearest, prepare_connection
from rag_assets.store.verse_search import VerseHit, verses_by_id


@dataclass(frozen=True)
class Hit:
    """One hit as a person reads it; ``reference`` such as "John 3:16" is in its language."""

    rank: int
    reference: str
    usfm: str
    version: str
    language: str
    text: str
    score: float


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first; through which release and plan; where the time went, in milliseconds."""

    hits: tuple[Hit, ...]
    release_id: int
    plan: SearchPlan
    space: SpaceSpec
    embedding_ms: float
    search_ms: float


def search(
    database: Database,
    settings: Settings,
    query: str,
    *,
    top_k: int = 10,
    versions: Sequence[str] | None = None,
) -> SearchResult:
    """Embed the query in the released space and return the nearest verses of the active release.

    :param versions: only these; ``None`` for all that are released.
    :raises NotReleasedError: nothing is released yet.
    :raises ConfigurationError: a version is not served, or there is no key for the provider.
    """
    if not query.strip():
        raise ConfigurationError("the query is empty: write what you are looking for")
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        served = served_now(connection, settings)
        target = served.target
        wanted = _wanted(target, versions)
        plan = choose_plan(target, wanted, exact_rows=settings.rag_search_exact_rows)
        started = time.perf_counter()
        (vector,) = embed_queries(settings, target.table.space.spec, [query])
        embedded = time.perf_counter()
        found = nearest(connection, target.table, plan, vector, top_k=top_k, scopes=wanted)
        verses = verses_by_id(connection, dict(found))
        searched = time.perf_counter()
    return SearchResult(
        hits=tuple(_hit(rank, hit) for rank, hit in enumerate(verses, start=1)),
        release_id=served.release_id,
        plan=plan,
        space=target.table.space.spec,
        embedding_ms=(embedded - started) * 1000,
        search_ms=(searched - embedded) * 1000,
    )


def _wanted(target: Target, versions: Sequence[str] | None) -> list[str]:
    if versions is None:
        return sorted(target.scopes)
    for code in versions:
        if code not in target.scopes:
            raise ConfigurationError(
                f"version {code} is not served: it is not in the active release, or policy keeps "
                f"it out. To choose from: {', '.join(sorted(target.scopes)) or 'none'}"
            )
    return list(versions)


def _hit(rank: int, hit: VerseHit) -> Hit:
    portuguese = hit.language.lower().startswith("pt")
    name = display_name(hit.book, Language.PORTUGUESE if portuguese else Language.ENGLISH)
    end = f"-{hit.verse_end}" if hit.verse_end != hit.verse else ""
    place = f"{hit.chapter}:{hit.verse}{end}"
    return Hit(
        rank=rank,
        reference=f"{name} {place}",
        usfm=f"{hit.book} {place}",
        version=hit.version_code,
        language=hit.language,
        text=hit.text,
        score=hit.score,
    )
