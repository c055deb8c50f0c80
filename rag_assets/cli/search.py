"""``rag-assets search``: search the corpus."""

from __future__ import annotations

from typing import Annotated

import typer

from rag_assets.bible.versions import list_version_folders
from rag_assets.cli.options import Collapse, Hybrid, Rerank, Searched, TextWeight, TopK, Versions
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json, show_pairs
from rag_assets.cli.snippets import snippet
from rag_assets.errors import RequestError
from rag_assets.postgres.database import open_database
from rag_assets.retrieval.request import MAX_CONTEXT, SearchRequest
from rag_assets.retrieval.search import SearchResult, search_text
from rag_assets.settings.model import Settings, load_settings
from rag_assets.visible import count


def search_command(
    query: Annotated[str, typer.Argument(help="What to search for, in plain words.")],
    top_k: TopK = 10,
    corpus: Searched = "both",
    version: Versions = None,
    language: Annotated[
        str | None, typer.Option(help="Only versions and documents in this language.")
    ] = None,
    book: Annotated[
        list[str] | None, typer.Option(help="Only this book, by code or name; may be repeated.")
    ] = None,
    document: Annotated[
        list[str] | None, typer.Option(help="Only this document, by its key; may be repeated.")
    ] = None,
    hybrid: Hybrid = False,
    text_weight: TextWeight = None,
    rerank: Rerank = False,
    collapse: Collapse = False,
    full: Annotated[
        bool, typer.Option("--full", help="Print whole passages instead of snippets.")
    ] = False,
    context: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_CONTEXT, help="Passages before and after each document's hit to show."
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Search the active release for the verses and passages nearest to a query.

    Of a long passage, the part is shown that has the most words of the query. JSON has whole
    passages.

    ```
    rag-assets search "where you go I will go" --version EN_SAMPLE
    rag-assets search "termos do contrato" --corpus documents --top-k 3 --full
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        request = SearchRequest(
            top_k=top_k,
            versions=tuple(version) if version else None,
            language=language,
            books=tuple(book) if book else None,
            hybrid=hybrid,
            text_weight=text_weight,
            rerank=rerank,
            collapse=collapse,
            corpus=corpus,
            documents=tuple(document) if document else None,
            context=context,
        )
        result = _searched(settings, query, request)
    if as_json:
        show_json(result)
    else:
        show_hits(result, query, full=full)


def _searched(settings: Settings, query: str, request: SearchRequest) -> SearchResult:
    try:
        return search_text(open_database(settings), settings, query, request)
    except RequestError as error:
        raise _with_its_folder(error, settings) from None


def _with_its_folder(error: RequestError, settings: Settings) -> RequestError:
    """The same error, or one that says that an unknown version has a folder, and what to run."""
    if error.kind == "unknown-version":
        for folder in list_version_folders(settings.rag_bibles_dir):
            if str(error).startswith(f"version {folder.code} is not in "):
                return RequestError(
                    "version-not-released",
                    error.field,
                    f"version {folder.code} has a folder but is not loaded: run `rag-assets bible "
                    f"embed {folder.code}`",
                    error.choices,
                )
    return error


def show_hits(result: SearchResult, query: str, *, full: bool = False) -> None:
    """Print hits, as snippets unless ``full``, and how long the search took."""
    for hit in result.hits:
        place = hit.version if hit.document is None else hit.document.key
        text = hit.text if full else snippet(hit.text, query)
        before, after = (hit.document.before, hit.document.after) if hit.document else ((), ())
        first = f"[bold]{plain(hit.reference)}[/bold] [dim]{plain(place)}[/dim]"
        lines = [
            *(f"[dim]{line}[/dim]" for line in _lines(*before)),
            *_lines(text),
            *(f"[dim]{line}[/dim]" for line in _lines(*after)),
        ]
        beside = f"[dim]{hit.rank:>2}  {hit.score:.3f}[/dim]"
        show_pairs([(beside, first), *(("", line) for line in lines)])
    plans = " + ".join(str(plan) for plan in (result.plan, result.documents_plan) if plan)
    out.print(
        f"[dim]{count(len(result.hits), 'hit')} of release {result.release_id} ({plans}); "
        f"embedding {result.embedding_ms:.0f} ms, search {result.search_ms:.0f} ms[/dim]"
    )
    if result.why_fewer:
        out.print(f"[dim]{plain(result.why_fewer)}[/dim]")


def _lines(*texts: str) -> list[str]:
    return [plain(line) for text in texts for line in text.expandtabs().splitlines()]
