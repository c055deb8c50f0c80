"""``rag-assets eval``: how well the queries of a file find what they should."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from rag_assets.cli.options import Collapse, Hybrid, Rerank, TextWeight, TopK, Versions
from rag_assets.cli.output import Json, errors_as_sentences, out, show_json, show_record, show_table
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import open_database
from rag_assets.retrieval.evaluation import Evaluated, evaluated, evaluation_summary
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_texts
from rag_assets.settings.model import load_settings

MAX_QUERIES = 2048


@dataclass(frozen=True)
class Question:
    """One query of the file."""

    text: str
    expected: tuple[str, ...]
    language: str | None


def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            help="TOML with tables `query`, or JSON lines: text, expected (references such as "
            "RUT 1:16), language."
        ),
    ],
    top_k: TopK = 10,
    version: Versions = None,
    hybrid: Hybrid = False,
    text_weight: TextWeight = None,
    rerank: Rerank = False,
    collapse: Collapse = False,
    as_json: Json = False,
) -> None:
    """Search the active release with each query of a file; report hit@k, latency and coverage.

    A query with a language searches only versions of that language. The latency is that of the
    search alone: the queries are embedded beforehand.

    ```
    rag-assets eval samples/golden_queries.toml
    ```
    """
    with errors_as_sentences(as_json):
        settings = load_settings()
        questions = read_questions(file)
        requests = [
            SearchRequest(
                top_k=top_k,
                text=question.text,
                versions=tuple(version) if version else None,
                language=question.language,
                rerank=rerank,
                hybrid=hybrid,
                text_weight=text_weight,
                collapse=collapse,
            )
            for question in questions
        ]
        found = search_texts(open_database(settings), settings, requests)
    results = [
        evaluated(
            question.text,
            question.expected,
            [hit.usfm for hit in result.hits],
            result.search_ms,
        )
        for question, result in zip(questions, found, strict=True)
    ]
    _show(results, found[0].release_id, top_k=top_k, as_json=as_json)


def _show(results: Sequence[Evaluated], release: int, *, top_k: int, as_json: bool) -> None:
    summed = asdict(evaluation_summary(results, top_k=top_k))
    if as_json:
        show_json({"release": release, "top_k": top_k, **summed, "results": results})
        return
    show_table(
        [
            {
                "found at": result.found_at,
                "ms": round(result.latency_ms, 1),
                "hits": len(result.hits),
                "expected": ", ".join(result.expected) or None,
                "query": result.query,
            }
            for result in results
        ],
        empty="",
    )
    out.print()
    show_record({"release": release, f"hit@{top_k}": summed.pop("hit_at_k"), **summed})


def read_questions(path: Path) -> tuple[Question, ...]:
    """Read the file: TOML by its ending, else JSON lines.

    :raises ConfigurationError: naming the file, the query and what is wrong with it.
    """
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            entries = tomllib.loads(content).get("query", [])
        else:
            entries = [json.loads(line) for line in content.splitlines() if line.strip()]
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is neither TOML nor JSON lines: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f"{path} has no query: write [[query]] with text and expected")
    if len(entries) > MAX_QUERIES:
        raise ConfigurationError(f"{path} has {len(entries)} queries: the maximum is {MAX_QUERIES}")
    return tuple(_question(path, place, entry) for place, entry in enumerate(entries, start=1))


def _question(path: Path, place: int, entry: object) -> Question:
    if not isinstance(entry, Mapping):
        raise ConfigurationError(f"{path}: query {place} is not a table with text and expected")
    text, expected, language = (entry.get(name) for name in ("text", "expected", "language"))
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(f"{path}: query {place} has no text")
    if not isinstance(expected, list | None) or not all(
        isinstance(reference, str) for reference in expected or ()
    ):
        raise ConfigurationError(f"{path}: query {place}: expected is not a list of references")
    if not isinstance(language, str | None):
        raise ConfigurationError(f"{path}: query {place}: language is not a string")
    return Question(text, tuple(expected or ()), language)
