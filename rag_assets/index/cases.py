"""The representative searches of a table: everything, and some filters."""

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
    """Representative filters: the smallest version, the largest version and each language.

    :param scopes: rows by version.
    :param languages: language tag by version; versions with the same primary subtag are grouped.
    """
    by_size = sorted(scopes, key=lambda scope: (scopes[scope], scope))
    cases: dict[str, tuple[str, ...]] = {}
    if len(by_size) > 1:
        cases[f"smallest version ({by_size[0]})"] = (by_size[0],)
        cases[f"largest version ({by_size[-1]})"] = (by_size[-1],)
    by_language: dict[str, list[str]] = {}
    for scope in sorted(scopes):
        primary = languages.get(scope, "").partition("-")[0].lower()
        by_language.setdefault(primary, []).append(scope)
    for language, members in sorted(by_language.items()):
        if 1 < len(members) < len(scopes):
            cases[f"language {language}"] = tuple(members)
    return cases


def cases_of(
    table: VectorTable, scopes: Mapping[str, int], languages: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """:func:`filter_cases`; for documents, the languages with the fewest and the most chunks.

    :param languages: by version; ignored for documents, whose scopes are languages.
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
    """The scopes to confine a case's search to; searching all documents takes no filter."""
    return None if table.corpus == "documents" and case == EVERYTHING else tuple(scopes)


def plan_of(
    target: Target, case: str, scopes: Sequence[str], *, exact_rows: int | None
) -> SearchPlan:
    """How a case's search reads the table. A language is a filter even if it is the only one."""
    rows = None
    if target.table.corpus == "documents" and case != EVERYTHING:
        rows = sum(target.scopes[scope] for scope in scopes)
    return choose_plan(target, scopes, exact_rows=exact_rows, rows=rows)


def request_of(table: VectorTable, case: str, scopes: Sequence[str]) -> SearchRequest:
    """The request that an application would send for a case."""
    confined = confined_to(table, case, scopes)
    if table.corpus == "bible":
        return SearchRequest(top_k=TOP_K, versions=confined)
    language = confined[0] if confined else None
    return SearchRequest(top_k=TOP_K, corpus="documents", language=language)
