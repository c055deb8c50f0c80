"""``rag-assets explain``: why a search answers as it does."""

from __future__ import annotations

from typing import Annotated

import typer

from rag_assets.api.explain_models import explain_model
from rag_assets.cli.options import (
    Books,
    Collapse,
    Documents,
    Hybrid,
    InCorpus,
    InLanguage,
    MinScore,
    Rerank,
    TextWeight,
    TopK,
    Versions,
)
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    indented,
    out,
    plain,
    show_json,
    show_table,
)
from rag_assets.postgres.database import open_database
from rag_assets.retrieval.explain.explain import explain_text
from rag_assets.retrieval.explain.model import Expected, ExplainedHit, Explanation
from rag_assets.retrieval.request import SearchRequest
from rag_assets.settings.model import load_settings
from rag_assets.visible import count

SHOWN = 10
"""Versions of an expected verse; all are in JSON."""


def explain_command(
    query: Annotated[str, typer.Argument(help="What was searched for, in plain words.")],
    expect: Annotated[
        list[str] | None,
        typer.Option(
            help="What should be found: a verse, in any version or in one (EN_SAMPLE Jonah 1:17), "
            "a document's key, or a passage of it (manual.pdf#2). May be repeated."
        ),
    ] = None,
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
    collapse: Collapse = False,
    as_json: Json = False,
) -> None:
    """Search as `search` does; explain each hit, and where what is expected stopped.

    What is expected stands at a rank in exact search, in each plan of search that the release has,
    among the passages that the words find, and after fusion and grouping. If it is not in the
    answer, the stage at which it stopped is named, with the cause and the next command.

    ```
    rag-assets explain "a great fish swallowed Jonah" --expect "Jonah 1:17"
    rag-assets explain "termos do contrato" --hybrid --expect contrato.pdf
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
        )
        found = explain_text(open_database(settings), settings, query, request, expect=expect or ())
    if as_json:
        model = explain_model(found, "", cross_encoder=settings.rag_rerank_url is not None)
        show_json(model.model_dump(exclude={"request_id"}))
        return
    _show(found)
    if settings.rag_rerank_url is not None:
        out.print(
            "[dim]The ranks, and what is found, are those before the cross-encoder of "
            f"RAG_RERANK_URL: --top-k {settings.rag_rerank_candidates} explains all it is given."
            "[/dim]"
        )


def _show(found: Explanation) -> None:
    by_passage: dict[str, list[Expected]] = {}
    for one in found.expected:
        by_passage.setdefault(one.passage, []).append(one)
    for same in by_passage.values():
        for one in same[:SHOWN]:
            _show_expected(one)
        if len(same) > SHOWN:
            out.print(f"[dim]and in {count(len(same) - SHOWN, 'further version')}: --json[/dim]")
        out.print()
    show_table([_row(one) for one in found.hits], empty="no hit")
    plans = " + ".join(str(plan) for plan in (found.plan, found.documents_plan) if plan)
    out.print(f"[dim]{count(len(found.hits), 'hit')} of release {found.release} ({plans})[/dim]")


def _show_expected(one: Expected) -> None:
    colour = "green" if one.found else "red"
    stage = one.verdict.stage.replace("_", " ")
    out.print(
        f"[bold]{plain(one.reference)}[/bold] [{colour}]{stage}[/{colour}]: "
        f"{plain(one.verdict.reason)}"
    )
    if one.verdict.command:
        out.print(indented(f"next: {plain(one.verdict.command)}", 2))
    if one.score is not None:
        ranks = {plan.plan + " (used)" * plan.used: plan.rank for plan in one.plans}
        ranks |= {
            "words": one.ranks.text,
            "after fusion": one.ranks.fused,
            "after grouping": one.ranks.grouped,
        }
        shown = "; ".join(f"{name}: {rank or '-'}" for name, rank in ranks.items())
        out.print(indented(f"[dim]ranks: {plain(shown)}; score {one.score:.3f}[/dim]", 2))


def _row(one: ExplainedHit) -> dict[str, object]:
    hit, why = one.hit, one.why
    place = hit.version if hit.document is None else hit.document.key
    at = f":{why.line}" if why.line else f", p. {why.page}" if why.page else ""
    return {
        "rank": hit.rank,
        "passage": f"{hit.reference} ({place})",
        "source": why.source + at,
        "text hash": why.text_hash[:12],
        "run": why.run_id[:8],
        "model": why.model,
        "USD": why.cost_usd,
        "generation": why.generation,
        "exact": why.ranks.exact,
        "vector": why.ranks.vector,
        "words": why.ranks.text,
        "fused": why.ranks.fused,
    }
