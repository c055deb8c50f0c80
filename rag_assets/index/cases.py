"""The cases that stand for all searches of a table: everything, and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rag_assets.retrieval.plan import Target, choose_plan
from rag_assets.retrieval.request import SearchRequest
from rag_assets.vectors.search_plan import SearchPlan
from rag_assets.vectors.sql.tables import VectorTable

TOP_K = 10
EVERYTHING = "everything"


def filter_cases(
    scopes: Mapping[str, int], languages: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Filters that stand for all others: the smallest version, the largest, and each language.

    :param scopes: rows by version.
    :param languages: by version, the language's tag; versions of one primary language go together.
    """
    by_size = sorted(scopes, key=lambda scope: (scopes[scope], scope))
    cases: dict[str, tuple[str, ...]] = {}
    if len(by_size) > 1:
        cases[f"smallest version ({by_size[0]})"] = (by_size[0],)
        cases[f"largest version ({by_size[-1]})"] = (by_size[-1],)
    spoken: dict[str, list[str]] = {}
    for scope in sorted(scopes):
        spoken.setdefault(languages.get(scope, "").partition("-")[0].lower(), []).append(scope)
    for language, members in sorted(spoken.items()):
        if 1 < len(members) < len(scopes):
            cases[f"language {language}"] = tuple(members)
    return cases


def cases_of(
    table: VectorTable, scopes: Mapping[str, int], languages: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """:func:`filter_cases`; of documents, the languages with the least and the most chunks.

    :param languages: by version; of no account for documents, whose scopes are languages.
    """
    if table.corpus == "bible":
        return filter_cases(scopes, languages)
    by_size = sorted(scopes, key=lambda language: (scopes[language], language))
    if len(by_size) < 2:
        return {}
    return {
        f"smallest language ({by_size[0]})": (by_size[0],),
        f"largest language ({by_size[-1]})": (by_size[-1],),
    }


def confined_to(table: VectorTable, case: str, scopes: Sequence[str]) -> tuple[str, ...] | None:
    """What a search of a case is confined to; everything of the documents is no filter."""
    return None if table.corpus == "documents" and case == EVERYTHING else tuple(scopes)


def plan_of(
    target: Target, case: str, scopes: Sequence[str], *, exact_rows: int | None
) -> SearchPlan:
    """How a search of a case reads the table. A language is a filter, also where it is the only."""
    rows = None
    if target.table.corpus == "documents" and case != EVERYTHING:
        rows = sum(target.scopes[scope] for scope in scopes)
    return choose_plan(target, scopes, exact_rows=exact_rows, rows=rows)


def request_of(table: VectorTable, case: str, scopes: Sequence[str]) -> SearchRequest:
    """The request of an application that searches a case."""
    confined = confined_to(table, case, scopes)
    if table.corpus == "bible":
        return SearchRequest(top_k=TOP_K, versions=confined)
    language = confined[0] if confined else None
    return SearchRequest(top_k=TOP_K, corpus="documents", language=language)
