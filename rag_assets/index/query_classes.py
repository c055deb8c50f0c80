"""The classes of queries that an index is judged by, the floor of each, and the verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rag_assets.settings.model import Settings

_NAMED = 3  # lost queries in a failure; the check's metadata list them all
_HALF = 0.5 - 1e-9
"""Of a query: a floor of 0.99 allows two of 198 queries to be lost, as of 200."""


class QueryClass(StrEnum):
    """A class of queries; the value names its figures in a check's metadata."""

    GOLDEN = "golden_queries"
    GOLDEN_LANGUAGE = "golden_queries_in_their_language"
    FRAGMENTS = "fragments"
    OPENINGS = "openings"
    OTHER_VERSIONS = "other_versions"
    LIVE = "live_queries"
    MIXTURES = "mixtures"


GOLDEN_CLASSES = QueryClass.GOLDEN, QueryClass.GOLDEN_LANGUAGE
SAMPLED_CLASSES = (
    QueryClass.FRAGMENTS,
    QueryClass.OPENINGS,
    QueryClass.OTHER_VERSIONS,
    QueryClass.LIVE,
)
"""Classes of text queries that are drawn at random."""

SHARE_OF_SAMPLE: Mapping[QueryClass, float] = {
    QueryClass.FRAGMENTS: 1,
    QueryClass.OPENINGS: 0.5,
    QueryClass.OTHER_VERSIONS: 0.5,
    QueryClass.LIVE: 0.5,
}
"""Queries of each class as a share of RAG_INDEX_TEXT_SAMPLE. Fragments are the hardest and have the
highest floor, which takes more of them to judge: of 200, two may be lost."""


@dataclass(frozen=True)
class ClassResult:
    """How a plan answers the queries of one class, compared with exact search.

    :param asked: number of queries.
    :param answered: how many of them exact search answers.
    :param recall: recall@10, from 0 to 1: the share of the answered queries that the plan answers,
        or, for queries without an expected passage, of their ten nearest rows that it finds.
    :param lost: the queries that exact search answers and the plan does not.
    :param missed: the queries that even exact search does not answer; only of golden queries.
    :param explain: by lost or missed golden query, the command that explains its search.
    """

    asked: int
    answered: int
    recall: float
    lost: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    explain: Mapping[str, str] = field(default_factory=dict)


def floor_of(settings: Settings, kind: QueryClass) -> float:
    """The minimum recall@10 of a class; golden queries have a number that may be lost instead."""
    match kind:
        case QueryClass.FRAGMENTS:
            return settings.rag_fragment_agreement
        case QueryClass.OPENINGS:
            return settings.rag_opening_agreement
        case QueryClass.OTHER_VERSIONS:
            return settings.rag_versions_agreement
        case QueryClass.LIVE:
            return settings.rag_live_recall_floor
        case QueryClass.MIXTURES:
            return settings.rag_recall_floor
        case QueryClass.GOLDEN | QueryClass.GOLDEN_LANGUAGE:
            raise ValueError("golden queries are judged by the number that may be lost")


def judge_sampled(kind: QueryClass, result: ClassResult, *, floor: float) -> tuple[str, ...]:
    """The failure of a class whose recall is under its floor, with the first lost queries.

    The floor is rounded to whole queries.
    """
    if (floor - result.recall) * result.answered <= _HALF:
        return ()
    failure = f"{_words(kind)}: recall@10 {result.recall:.3f} is under {floor}"
    if result.lost:
        failure += (
            f": the released search loses {len(result.lost)} of the {result.answered} that exact "
            f"search answers. Lost: {first_of(result.lost)}"
        )
    return (failure,)


def judge_golden(
    results: Mapping[QueryClass, ClassResult],
    *,
    floor: float,
    lost_max: int,
    without: bool = False,
) -> tuple[str, ...]:
    """Failures: no queries, too few answered even by exact search, or too many lost.

    :param results: of golden queries without and with their language.
    :param floor: share of the queries that exact search must answer.
    :param lost_max: number of queries that the plan may lose, over both classes.
    :param without: golden queries are disabled.
    """
    asked = sum(result.asked for result in results.values())
    answered = sum(result.answered for result in results.values())
    lost = tuple(query for result in results.values() for query in result.lost)
    missed = tuple(query for result in results.values() for query in result.missed)
    commands = {query: one for result in results.values() for query, one in result.explain.items()}
    failures = []
    if not (asked or without):
        failures.append(
            "no golden query expects a verse of the versions served: write some for them in "
            "RAG_GOLDEN_QUERIES"
        )
    if answered < floor * asked:
        failures.append(
            f"exact search answers {answered} of {asked} golden queries, under {floor:.0%}: the "
            f"vectors do not fit these texts. Missed: {first_of(missed)}{_why(missed, commands)}"
        )
    if len(lost) > lost_max:
        failures.append(
            f"the released search loses {len(lost)} of the {answered} golden queries that exact "
            f"search answers, more than {lost_max}. Lost: {first_of(lost)}{_why(lost, commands)}"
        )
    return tuple(failures)


def _why(queries: tuple[str, ...], commands: Mapping[str, str]) -> str:
    """The end of a failure that names the command for the first of these queries."""
    known = [commands[query] for query in queries if query in commands]
    return f". Why: `{known[0]}`" if known else ""


def loses_queries(measured: Mapping[str, object]) -> bool:
    """Whether a recorded result names more queries that only exact search answers than may be."""
    classes, allowed = measured.get("classes"), measured.get("lost_max", 0)
    if not isinstance(classes, Mapping) or not isinstance(allowed, int):
        return False
    return sum(len(result["lost"]) for result in classes.values()) > allowed


def figures_of(
    results: Mapping[QueryClass, ClassResult], limits: Mapping[QueryClass, float]
) -> dict[str, float]:
    """The numbers of each class under stable names, which Dagster plots over time.

    :param limits: the floor of each class; golden queries have none.
    """
    figures: dict[str, float] = {}
    for kind, result in results.items():
        figures[f"recall_at_10_{kind}"] = round(result.recall, 4)
        if kind in limits:
            figures[f"floor_{kind}"] = limits[kind]
        figures[f"asked_{kind}"] = result.asked
        figures[f"answered_{kind}"] = result.answered
        figures[f"lost_{kind}"] = len(result.lost)
    return figures


def summary_of(
    results: Mapping[QueryClass, ClassResult], limits: Mapping[QueryClass, float]
) -> str:
    """All classes in one line."""
    parts = []
    for kind, result in results.items():
        floor = f", floor {limits[kind]}" if kind in limits else ""
        parts.append(f"{_words(kind)} {result.recall:.3f} ({result.answered} answered{floor})")
    return f"recall@10: {', '.join(parts)}" if parts else ""


def first_of(queries: tuple[str, ...]) -> str:
    """The first queries, for a sentence."""
    return f"{'; '.join(queries[:_NAMED])}{'; …' if len(queries) > _NAMED else ''}"


def _words(kind: QueryClass) -> str:
    return kind.value.replace("_", " ")
