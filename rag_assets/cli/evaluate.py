"""``rag-assets eval``: how well queries find what they should."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from rag_assets.cli.options import (
    Collapse,
    Hybrid,
    NoCrossEncoder,
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
    show_record,
    show_table,
)
from rag_assets.errors import ConfigurationError
from rag_assets.index.proposals import Proposal, propose_queries
from rag_assets.postgres.database import open_database
from rag_assets.retrieval.beir import named_by_id, read_judged, write_documents
from rag_assets.retrieval.cross_encoder import is_wanted
from rag_assets.retrieval.evaluation import Evaluated, evaluated, evaluation_summary, name_of
from rag_assets.retrieval.explain.command import command_of
from rag_assets.retrieval.golden_file import read_golden_queries
from rag_assets.retrieval.measures import means, measures
from rag_assets.retrieval.request import MAX_TOP_K, SearchRequest
from rag_assets.retrieval.search import search_texts
from rag_assets.settings.model import load_settings
from rag_assets.visible import count

_AROUND = 150
EXPLAINED = 10
"""Queries that found nothing expected whose commands are printed."""
BATCH = 1000
"""Queries of a collection that are embedded together."""

File = Annotated[
    Path | None,
    typer.Argument(
        help="TOML with tables `query`, or JSON lines: text, expected and not_first "
        "(references such as RUT 1:16, or keys of documents), language."
    ),
]
Beir = Annotated[
    Path | None,
    typer.Option(help="Instead of a file: a folder with a collection in the BEIR or TREC format."),
]
WriteTo = Annotated[
    Path | None,
    typer.Option(help="With --beir: write the documents here, as files for the inbox."),
]
Propose = Annotated[
    int | None,
    typer.Option(min=1, max=1000, help="Print this many queries from the corpus, as TOML."),
]


def evaluate(
    file: File = None,
    beir: Beir = None,
    split: Annotated[str, typer.Option(help="With --beir: the set of judgments.")] = "test",
    write_to: WriteTo = None,
    propose: Propose = None,
    seed: Annotated[
        int, typer.Option(help="With --propose: another seed selects other passages.")
    ] = 1,
    top_k: TopK = 10,
    version: Versions = None,
    hybrid: Hybrid = False,
    text_weight: TextWeight = None,
    rerank: Rerank = False,
    no_cross_encoder: NoCrossEncoder = False,
    collapse: Collapse = False,
    as_json: Json = False,
) -> None:
    """Search the active release with each query of a file; report hit@k, nDCG, latency, coverage.

    For a query that finds nothing of what it expects, the `rag-assets explain` is named that shows
    why.

    A query with a language searches only versions and documents of that language; one that names a
    document searches documents, too. The latency is that of the search alone: the queries are
    embedded beforehand.

    A collection in the format of BEIR or TREC (`--beir`) is a folder with documents, queries and
    judgments. `--write-to` writes its documents for the inbox; once they are released, its queries
    are searched among the documents, 100 hits each.

    `--propose` prints queries made of words from passages, in the file's format: reword them,
    delete what no user would ask, and add the rest to the file.

    ```
    rag-assets eval samples/golden_queries.toml
    rag-assets eval --beir scifact --write-to inbox/scifact
    rag-assets eval --propose 20
    ```
    """
    with errors_as_sentences(as_json):
        if sum(one is not None for one in (file, beir, propose)) != 1:
            raise ConfigurationError("give one of: a file of queries, --beir, --propose")
        request = SearchRequest(
            top_k=top_k,
            versions=tuple(version) if version else None,
            rerank=rerank,
            hybrid=hybrid,
            text_weight=text_weight,
            collapse=collapse,
            cross_encoder=is_wanted(load_settings(), False if no_cross_encoder else None),
        )
        if file is not None:
            _evaluate_file(file, request, as_json=as_json)
        elif propose is not None:
            _propose(propose, seed, as_json=as_json)
        elif beir is not None and write_to is not None:
            out.print(f"{count(write_documents(beir, write_to), 'document')} written to {write_to}")
        elif beir is not None:
            _evaluate_collection(beir, split, request, as_json=as_json)


def _evaluate_file(path: Path, request: SearchRequest, *, as_json: bool) -> None:
    settings = load_settings()
    queries = read_golden_queries(path, expecting=False)
    requests = [query.asked(request) for query in queries]
    found = search_texts(open_database(settings), settings, requests)
    results = [
        evaluated(
            query.text,
            query.expected,
            [name_of(hit) for hit in result.hits],
            result.search_ms,
            not_first=query.not_first,
        )
        for query, result in zip(queries, found, strict=True)
    ]
    explain = {
        place: command_of(asked, "explain", expect=result.expected)
        for place, (asked, result) in enumerate(zip(requests, results, strict=True))
        if result.missed
    }
    _show(results, explain, found[0].release_id, top_k=request.top_k, as_json=as_json)


def _show(
    results: Sequence[Evaluated],
    explain: Mapping[int, str],
    release: int,
    *,
    top_k: int,
    as_json: bool,
) -> None:
    """Print the results.

    :param explain: by place, the command that explains why a query misses what it expects.
    """
    summed = asdict(evaluation_summary(results, top_k=top_k))
    if as_json:
        shown = [asdict(one) | {"explain": explain.get(n)} for n, one in enumerate(results)]
        show_json({"release": release, "top_k": top_k, **summed, "results": shown})
        return
    show_table(
        [
            {
                "found at": result.found_at,
                "ms": round(result.latency_ms, 1),
                "hits": len(result.hits),
                "expected": ", ".join(result.expected) or None,
                "query": result.query + (" (wrong first hit)" if result.wrong_first else ""),
            }
            for result in results
        ],
        empty="",
    )
    out.print()
    show_record({"release": release, f"hit@{top_k}": summed.pop("hit_at_k"), **summed})
    if explain:
        out.print("\nwhy nothing of what was expected is found:")
    for command in list(explain.values())[:EXPLAINED]:
        out.print(indented(plain(command), 2))
    if len(explain) > EXPLAINED:
        out.print(indented("… (--json has all)", 2))


def _evaluate_collection(
    folder: Path, split: str, request: SearchRequest, *, as_json: bool
) -> None:
    settings = load_settings()
    queries = read_judged(folder, split)
    named = named_by_id(queries)
    database = open_database(settings)
    asked = replace(request, corpus="documents", collapse=True, top_k=MAX_TOP_K)
    rankings: list[list[str]] = []
    for start in range(0, len(queries), BATCH):
        requests = [replace(asked, text=query.text) for query in queries[start : start + BATCH]]
        found = search_texts(database, settings, requests)
        rankings += [[named(name_of(hit)) for hit in result.hits] for result in found]
    judged = {key for query in queries for key in query.grades}
    if judged.isdisjoint(key for ranking in rankings for key in ranking):
        raise ConfigurationError(
            f"no query found a judged document of {folder}: write the documents into the inbox "
            f"(`rag-assets eval --beir {folder} --write-to FOLDER`), and release them"
        )
    figures = means(
        [measures(ranking, query.grades) for ranking, query in zip(rankings, queries, strict=True)]
    )
    if as_json:
        show_json({"queries": len(queries), "top_k": MAX_TOP_K, **figures})
    else:
        show_record({"queries": len(queries), **{k: str(v) for k, v in figures.items()}})


def _propose(number: int, seed: int, *, as_json: bool) -> None:
    settings = load_settings()
    with open_database(settings).connect() as connection:
        proposals = propose_queries(connection, settings, number, seed=seed)
    if as_json:
        show_json(list(proposals))
        return
    for proposal in proposals:
        typer.echo(_as_toml(proposal))


def _as_toml(proposal: Proposal) -> str:
    fields = {"language": proposal.language, "text": proposal.text, "expected": [proposal.expected]}
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items())
    return "\n".join((f"# {_around(proposal)}", "[[query]]", *lines, ""))


def _around(proposal: Proposal) -> str:
    """The passage, to reword its words by; of a long one, what surrounds them."""
    text, at = proposal.passage, proposal.passage.find(proposal.text)
    start, end = max(0, at - _AROUND), at + len(proposal.text) + _AROUND
    return f"{'… ' if start else ''}{text[start:end].strip()}{' …' if end < len(text) else ''}"
