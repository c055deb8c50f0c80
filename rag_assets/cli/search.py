"""``rag-assets search``: ask the corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from rag_assets.cli.options import Hybrid, Rerank, TopK, Versions
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json
from rag_assets.postgres.database import open_database
from rag_assets.retrieval.request import MAX_CONTEXT, Searched, SearchRequest
from rag_assets.retrieval.search import SearchResult, search_text
from rag_assets.settings.model import load_settings


def search_command(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
    top_k: TopK = 10,
    corpus: Annotated[Searched, typer.Option(help="What to search.")] = "both",
    version: Versions = None,
    language: Annotated[
        str | None, typer.Option(help="Only versions and documents of this language.")
    ] = None,
    book: Annotated[
        list[str] | None, typer.Option(help="Only this book, by code or name; may be repeated.")
    ] = None,
    document: Annotated[
        list[str] | None, typer.Option(help="Only this document, by its key; may be repeated.")
    ] = None,
    hybrid: Hybrid = False,
    rerank: Rerank = False,
    collapse: Annotated[
        bool, typer.Option(help="One hit a verse, over all versions; one a document.")
    ] = False,
    context: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_CONTEXT, help="Passages before and after each document's hit to show."
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Find the verses and passages of documents nearest to a query, in what is released.

    For example: `rag-assets search "where you go I will go" --version EN_SAMPLE`
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        request = SearchRequest(
            top_k=top_k,
            versions=tuple(version) if version else None,
            language=language,
            books=tuple(book) if book else None,
            hybrid=hybrid,
            rerank=rerank,
            collapse=collapse,
            corpus=corpus,
            documents=tuple(document) if document else None,
            context=context,
        )
        result = search_text(open_database(settings), settings, query, request)
    if as_json:
        show_json(result)
        return
    show_hits(result)


def show_hits(result: SearchResult) -> None:
    """Hits as a person reads them, and where the time went."""
    for hit in result.hits:
        place = hit.version if hit.document is None else hit.document.key
        out.print(
            f"[dim]{hit.rank:>2}  {hit.score:.3f}[/dim]  [bold]{plain(hit.reference)}[/bold] "
            f"[dim]{plain(place)}[/dim]"
        )
        before, after = (hit.document.before, hit.document.after) if hit.document else ((), ())
        for text in before:
            _show_text(text, style="dim")
        _show_text(hit.text)
        for text in after:
            _show_text(text, style="dim")
    plans = " + ".join(str(plan) for plan in (result.plan, result.documents_plan) if plan)
    out.print(
        f"[dim]{len(result.hits)} hits of release {result.release_id} ({plans}); "
        f"embedding {result.embedding_ms:.0f} ms, search {result.search_ms:.0f} ms[/dim]"
    )
    if result.why_fewer:
        out.print(f"[dim]{plain(result.why_fewer)}[/dim]")


def _show_text(text: str, *, style: str | None = None) -> None:
    for line in text.expandtabs().splitlines():
        out.print(f"           {line}", markup=False, style=style)
