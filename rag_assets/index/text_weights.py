"""What the words of a query should count beside its vector, by language of the passages.

The default suits a model that knows the language. One that does not makes noise of its passages,
and then names, which the words find, are all that can be found. Parallel verses show which it is:
verses of one version, searched in another, where the same verse is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rag_assets.index.on_trial import candidates, on_trial
from rag_assets.index.sql.passage_texts import counterparts, places_of, sample_texts, vectors_of
from rag_assets.index.sql.text_weights import (
    measured_languages,
    record_weights,
    recorded_weights,
)
from rag_assets.index.text_queries import TUNING
from rag_assets.postgres.database import Connection, Database
from rag_assets.progress import Progress
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.fusion import TEXT_WEIGHT
from rag_assets.retrieval.measures import Mean, mean, measures_of_rank
from rag_assets.retrieval.ranking import Found, ranked
from rag_assets.retrieval.released import Served, served_on_trial
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import traced
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.tables import VectorTable

VECTORS, WORDS = 0.0, 1.0
WEIGHTS = (VECTORS, 0.2, TEXT_WEIGHT, 0.5, 0.65, 0.8, WORDS)
"""Those that are compared: the two halves alone, and what a release may take between them."""

_QUERIES = 200
"""Of each pair of versions; fewer if there are more pairs than ``_BUDGET`` allows."""
_BUDGET = 3_000
_FEWEST = 50
"""Verses of a pair, with which a difference can be told from chance."""
_OTHER_LANGUAGES = 2
_SEED = 4

Scores = Mapping[float, Sequence[float]]
"""For each weight, nDCG@10 of each query of a pair of versions."""


@dataclass(frozen=True)
class Pair:
    """Verses of a version, searched in another."""

    origin: str
    version: str

    def __str__(self) -> str:
        return f"{self.origin} → {self.version}"


@dataclass(frozen=True)
class TextWeights:
    """The weights of the next release.

    :param weights: by language, where they differ from the default.
    :param ndcg: nDCG@10 of each pair by weight; none if what was recorded still holds.
    """

    weights: Mapping[str, float]
    ndcg: Mapping[Pair, Mapping[float, Mean]]


def measure_text_weights(
    database: Database, settings: Settings, *, run_id: str, progress: Progress
) -> TextWeights | None:
    """Measure what words should count, and record it for the next release.

    Measured again only once the languages or the model change: what decides is how well one knows
    the other. A language with too few verses is measured until it has enough. The queries' vectors
    are those of their verses, so nothing is paid for.

    :returns: ``None`` if RAG_TEXT_WEIGHT says it, or all versions are in one language.
    """
    if settings.rag_text_weight is not None:
        return None
    with database.connect(autocommit=True) as connection:
        prepare_connection(connection)
        found = candidates(connection, settings)
        if not found or found[0].table.corpus != "bible":
            return None
        table, scopes = found[0].table, found[0].target.scopes
        tags = served_on_trial(connection, found[0].target).languages
        pairs, languages = pairs_of(scopes, tags), {primary(tags[code]) for code in scopes}
        if not pairs:
            return None
        if languages == measured_languages(connection, table):
            return TextWeights(recorded_weights(connection, table), {})
        with on_trial(connection, settings, found[:1]) as served:
            progress.say(f"measuring what words count, with {len(pairs)} pairs of versions")
            scores = scores_of(connection, settings, served, pairs)
        weights = weights_of(scores, tags)
        # One with too few verses to judge by is measured again with the next release.
        judged = {primary(tags[pair.version]) for pair in scores}
        record_weights(connection, table, weights, languages=judged, run_id=run_id)
    ndcg = {pair: {w: mean(of) for w, of in one.items()} for pair, one in scores.items()}
    return TextWeights(weights, ndcg)


def pairs_of(scopes: Mapping[str, int], languages: Mapping[str, str]) -> tuple[Pair, ...]:
    """The pairs to measure: into the largest version of each language. Pure.

    Verses come from the largest versions of two other languages, and from the next one of the same
    language.

    :param scopes: rows of each version.
    """
    by_language: dict[str, list[str]] = {}
    for code in sorted(scopes, key=lambda code: (-scopes[code], code)):
        by_language.setdefault(primary(languages[code]), []).append(code)
    pairs = []
    for language, (largest, *others) in by_language.items():
        foreign = [codes[0] for other, codes in by_language.items() if other != language]
        if foreign:
            origins = [*foreign[:_OTHER_LANGUAGES], *others[:1]]
            pairs += [Pair(origin, largest) for origin in origins]
    return tuple(pairs)


def scores_of(
    connection: Connection, settings: Settings, served: Served, pairs: Sequence[Pair]
) -> dict[Pair, Scores]:
    """The scores of the pairs that have enough verses in common.

    :param connection: is prepared for vectors.
    """
    count = min(_QUERIES, _BUDGET // max(1, len(pairs)))
    found = {pair: _scores(connection, settings, served, pair, count) for pair in pairs}
    return {pair: one for pair, one in found.items() if len(one[VECTORS]) >= _FEWEST}


def weights_of(scores: Mapping[Pair, Scores], languages: Mapping[str, str]) -> dict[str, float]:
    """The weight of each language that should not have the default. Pure.

    :param languages: of the versions.
    """
    foreign: dict[str, list[Scores]] = {}
    same: dict[str, list[Scores]] = {}
    for pair, one in scores.items():
        language = primary(languages[pair.version])
        of = same if primary(languages[pair.origin]) == language else foreign
        of.setdefault(language, []).append(one)
    chosen = {
        language: choose_weight(pairs, same.get(language, ()))
        for language, pairs in foreign.items()
    }
    return {language: weight for language, weight in chosen.items() if weight != TEXT_WEIGHT}


def choose_weight(foreign: Sequence[Scores], same: Sequence[Scores]) -> float:
    """The weight for passages in one language. Pure.

    The default, if vectors alone find more than words alone: the model knows the language. Else the
    best weight that is better than the default by more than the paired interval, and with which no
    pair is answered worse than by default and by the better of the halves.

    :param foreign: verses of other languages, searched in this one.
    :param same: verses of another version in this language.
    """
    if sum(sum(_differences(one, VECTORS, WORDS)) for one in foreign) > 0:
        return TEXT_WEIGHT
    best, gained = TEXT_WEIGHT, 0.0
    for weight in WEIGHTS[1:-1]:
        gain = mean([d for one in foreign for d in _differences(one, weight, TEXT_WEIGHT)])
        harmful = any(_is_worse(one, weight) for one in (*foreign, *same))
        if gain.value - gain.half > 0 and gain.value > gained and not harmful:
            best, gained = weight, gain.value
    return best


def _is_worse(scores: Scores, weight: float) -> bool:
    better = max((VECTORS, WORDS), key=lambda half: sum(scores[half]))
    difference = mean(_differences(scores, weight, better))
    lost = mean(_differences(scores, weight, TEXT_WEIGHT)).value < 0
    return lost and difference.value < -difference.half


def _differences(scores: Scores, weight: float, than: float) -> list[float]:
    return [a - b for a, b in zip(scores[weight], scores[than], strict=True)]


def _scores(
    connection: Connection, settings: Settings, served: Served, pair: Pair, count: int
) -> Scores:
    found: dict[float, list[float]] = {weight: [] for weight in WEIGHTS}
    for request, results, wanted in _asked(connection, settings, served, pair, count):
        for weight, of in found.items():
            of.append(_ndcg(replace(request, text_weight=weight), results, wanted))
    return found


def _asked(
    connection: Connection, settings: Settings, served: Served, pair: Pair, count: int
) -> Iterator[tuple[SearchRequest, Sequence[Found], frozenset[str]]]:
    """What is found for verses of one version in the other, and the references that are wanted."""
    table: VectorTable = served.target.table
    texts = {
        row: text
        for row, _, text in sample_texts(
            connection, table, [pair.origin], count, min_words=1, min_letters=1, seed=_SEED,
            half=TUNING,
        )
    }  # fmt: skip
    wanted = counterparts(connection, list(texts), {pair.version})
    places = places_of(connection, table, {row for rows in wanted.values() for row in rows})
    for row, vector in vectors_of(connection, table, list(wanted)).items():
        request = SearchRequest(
            top_k=10, text=texts[row], hybrid=True, corpus="bible", versions=(pair.version,)
        )
        found = traced(connection, settings, served, request, vector, None, timeout_ms=0)
        yield request, found.results, frozenset(places[one][1] for one in wanted[row])


def _ndcg(request: SearchRequest, results: Sequence[Found], wanted: frozenset[str]) -> float:
    hits = ranked(request, results).hits
    if request.text_weight == WORDS:
        hits = tuple(hit for hit in hits if hit.source != "vector")
    ranks = (rank for rank, hit in enumerate(hits, 1) if hit.usfm.partition("-")[0] in wanted)
    return measures_of_rank(next(ranks, None)).ndcg_at_10
