"""``rag-assets search``: search the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.text import Text

from rag_assets.cli.options import (
    Books,
    Collapse,
    Documents,
    Hybrid,
    InCorpus,
    InLanguage,
    MinScore,
    NoCrossEncoder,
    Rerank,
    TextWeight,
    TopK,
    Versions,
)
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, show_json, show_pairs
from rag_assets.postgres.database import open_database
from rag_assets.retrieval.cross_encoder import Reranking, is_wanted
from rag_assets.retrieval.request import MAX_CONTEXT, SearchRequest
from rag_assets.retrieval.search import SearchResult, search_text
from rag_assets.retrieval.snippets import Part
from rag_assets.settings.model import load_settings
from rag_assets.visible import count, visible


def search_command(
    query: Annotated[str, typer.Argument(help="What to search for, in plain words.")],
    top_k: TopK = 10,
    corpus: InCorpus = "both",
    version: Versions = None,
    language: InLanguage = None,
    book: Books = None,
    document: Documents = None,
    min_score: MinScore = None,
    hybrid: Hybrid = False,
    text_weight: TextWeight = None,
    rerank: Rerank = False,
    no_cross_encoder: NoCrossEncoder = False,
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

    Of a long passage, the part is shown that has the most words of the query, which are underlined.
    JSON has both, the whole passage (`text`) and this part (`snippet`).

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
            min_score=min_score,
            hybrid=hybrid,
            text_weight=text_weight,
            rerank=rerank,
            collapse=collapse,
            corpus=corpus,
            documents=tuple(document) if document else None,
            context=context,
            snippets="full" if full else "part",
            cross_encoder=is_wanted(settings, False if no_cross_encoder else None),
        )
        result = search_text(open_database(settings), settings, query, request)
    if as_json:
        show_json(result)
    else:
        show_hits(result)


def show_hits(result: SearchResult) -> None:
    """Print the snippets of hits, and how long the search took."""
    for hit in result.hits:
        place = hit.version if hit.document is None else hit.document.key
        before, after = (hit.document.before, hit.document.after) if hit.document else ((), ())
        first = f"[bold]{plain(hit.reference)}[/bold] [dim]{plain(place)}[/dim]"
        lines: list[str | Text] = [
            *(f"[dim]{line}[/dim]" for line in _lines(*before)),
            *_marked(hit.snippet or (Part(hit.text),)),
            *(f"[dim]{line}[/dim]" for line in _lines(*after)),
        ]
        beside = f"[dim]{hit.rank:>2}  {hit.score:.3f}[/dim]"
        show_pairs([(beside, first), *(("", line) for line in lines)])
    plans = " + ".join(str(plan) for plan in (result.plan, result.documents_plan) if plan)
    reranking = f", {_reranked(result.reranking)}" if result.reranking else ""
    out.print(
        f"[dim]{count(len(result.hits), 'hit')} of release {result.release_id} ({plans}); "
        f"embedding {result.embedding_ms:.0f} ms, search {result.search_ms:.0f} ms{reranking}[/dim]"
    )
    if result.why_fewer:
        out.print(f"[dim]{plain(result.why_fewer)}[/dim]")


def _reranked(done: Reranking) -> str:
    if done.outcome == "done":
        return f"{count(done.candidates, 'hit')} re-ranked in {done.ms:.0f} ms"
    return plain(f"not re-ranked ({done.outcome}: {done.detail})")


def _marked(parts: Sequence[Part]) -> Iterable[Text]:
    """The lines of a snippet, with what matches underlined."""
    text = Text()
    for part in parts:
        text.append(visible(part.text.expandtabs()), "underline" if part.match else None)
    return text.split("\n")


def _lines(*texts: str) -> list[str]:
    return [plain(line) for text in texts for line in text.expandtabs().splitlines()]
