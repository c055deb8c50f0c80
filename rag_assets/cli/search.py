"""``rag-assets search``: ask the corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from rag_assets.cli.output import Json, errors_as_sentences, out, show_json
from rag_assets.retrieval.search import SearchResult, search
from rag_assets.settings import load_settings
from rag_assets.store.database import open_database


def search_command(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
    top_k: Annotated[int, typer.Option(min=1, max=100, help="How many hits.")] = 10,
    version: Annotated[
        list[str] | None, typer.Option(help="Only this version; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the verses nearest to a query.

    For example: `rag-assets search "where you go I will go" --version EN_SAMPLE`
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        result = search(open_database(settings), settings, query, top_k=top_k, versions=version)
    if as_json:
        show_json(result)
        return
    show_hits(result)


def show_hits(result: SearchResult) -> None:
    """Hits as a person reads them, and where the time went."""
    for hit in result.hits:
        out.print(
            f"[dim]{hit.rank:>2}  {hit.score:.3f}[/dim]  [bold]{hit.reference}[/bold] "
            f"[dim]{hit.version}[/dim]"
        )
        out.print(f"           {hit.text}", markup=False)
    out.print(
        f"[dim]{len(result.hits)} hits of release {result.release_id} ({result.plan.kind}) in "
        f"{result.space}; embedding {result.embedding_ms:.0f} ms, search {result.search_ms:.0f} ms"
        "[/dim]"
    )
