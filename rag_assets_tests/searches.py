"""A search as a person sends it, for tests that care about what it finds and not about how."""

from __future__ import annotations

from collections.abc import Sequence

from rag_assets.postgres.database import Database
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import SearchResult, search_text
from rag_assets.settings.model import Settings


def ask(
    database: Database,
    settings: Settings,
    query: str,
    *,
    versions: Sequence[str] | None = None,
    top_k: int = 10,
) -> SearchResult:
    """Search what is released."""
    request = SearchRequest(top_k=top_k, versions=None if versions is None else tuple(versions))
    return search_text(database, settings, query, request)
