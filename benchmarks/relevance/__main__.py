"""How good the hits are: by vectors, by words, and by both.

    python -m benchmarks.relevance                      2,000 queries of each set
    python -m benchmarks.relevance --full               all verses as queries: hours
    python -m benchmarks.relevance --kind lexical       one of: lexical, local, minilm
    python -m benchmarks.relevance --bibles FOLDER      more versions (XX_CODE), of more languages
    python -m benchmarks.relevance --verses 2000        fewer verses of each version
    python -m benchmarks.relevance --smoke              the samples: does it run?

Queries are verses of another version, whose answer is the same verse (a translation that shares
few words, and two controls that share most), and six words in a row out of a verse. Searches are
those of the product, confined to one version, with exact vectors; *words* are hybrid search's own,
without the vectors. *both − better* compares both with the better of the two, query by query, with
the 95 % interval of the difference: a row is worse if it ends with an exclamation mark. The local
model takes 5,000 verses of each version, all with ``--full``; it also re-ranks what lexical vectors
find.

*vectors, re-ranked by words* is re-ranking by a cross-encoder (``RAG_RERANK_URL``) as the product
does it, over HTTP. The cross-encoder is the emulator's, which scores the words that query and
passage share (``openai_emulator/reranking.py``): the row measures the way there and back, and what
words alone would do to the first 32 hits. It says nothing about a model. It is compared with the
vectors alone.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from psycopg import sql
from pydantic import SecretStr

from benchmarks.index.bench import RUN_ID, Report, own_server, say, show
from benchmarks.index.corpus import Vectors
from benchmarks.relevance.sets import QuerySet, Version, query_sets, versions
from benchmarks.relevance.vectors import Kind, kinds
from openai_emulator.process import running_emulator
from rag_assets.bible.model import BibleText, Verse
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.index.text_weights import pairs_of, scores_of, weights_of
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.cross_encoder import CrossEncoder
from rag_assets.retrieval.fusion import TEXT_WEIGHT
from rag_assets.retrieval.measures import MEASURES, Measures, mean, means, measures
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served, served_on_trial
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import reranked, search
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.nearest import prepare_connection
from rag_assets.vectors.sql.served import ReleasedText
from rag_assets.vectors.sql.spaces import register_space
from rag_assets.vectors.sql.tables import VectorTable, announce, bible_table, record_change

QUERIES, SMOKE_QUERIES, SMOKE_VERSES = 2_000, 25, 60
DEEP = 100
_SEED = 30
RERANKED = "lexical, re-ranked"
CROSS = "vectors, re-ranked by words"


@dataclass(frozen=True)
class _Searched:
    """A way to search, and what "both" is compared with.

    :param how: fields of the request.
    :param halves: names of the searches that this one merges or re-ranks.
    """

    name: str
    how: Mapping[str, object]
    halves: tuple[str, ...] = ()


def _searches(weights: Sequence[float | None], *, two_spaces: bool) -> Iterator[_Searched]:
    yield _Searched("vectors", {})
    yield _Searched(CROSS, {"cross_encoder": True}, ("vectors",))
    yield _Searched("words", {"hybrid": True, "text_weight": 1.0})
    for weight in weights:
        name = "both" if weight is None else f"both, {weight}"
        how = {"hybrid": True, "text_weight": weight}
        yield _Searched(name, how, ("vectors", "words"))
    if two_spaces:
        yield _Searched(RERANKED, {"rerank": True})
        how = {"rerank": True, "hybrid": True}
        yield _Searched(f"{RERANKED}, both", how, (RERANKED, "words"))


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="the samples")
    options.add_argument("--full", action="store_true", help="all verses as queries")
    options.add_argument("--kind", nargs="+", choices=("lexical", "local", "minilm"))
    options.add_argument("--queries", type=int, help=f"of each set; {QUERIES:,}")
    options.add_argument("--verses", type=int, help="of each version; all, or 5,000")
    options.add_argument("--bibles", type=Path, help="a folder of further versions")
    options.add_argument("--text-weight", type=float, nargs="+", help="of both; the default's")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the server along
    texts = versions(given.bibles, smoke=given.smoke)
    count = given.queries or (SMOKE_QUERIES if given.smoke else QUERIES)
    for name, kind in kinds(texts, smoke=given.smoke).items():
        if given.kind and name not in given.kind:
            continue
        with own_server() as (database, settings), running_emulator() as emulator:
            settings = settings.model_copy(  # noqa: PLW2901
                update={
                    "rag_rerank_url": f"{emulator.origin}/v1/rerank",
                    "rag_rerank_api": "jina",
                    "rag_rerank_model": "words",
                    "rag_rerank_api_key": SecretStr("sk-test-words"),
                }
            )
            limit = given.verses or (SMOKE_VERSES if given.smoke else kind.limit)
            limit = None if given.full else limit
            weights = given.text_weight or [None]
            run = _Run(database, settings, texts, kind, limit, weights)
            show(run.report(10**9 if given.full else count))


class _Run:
    """One kind of vectors: its versions are loaded, its sets asked."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        texts: Mapping[str, Version],
        kind: Kind,
        limit: int | None,
        weights: Sequence[float | None],
    ) -> None:
        self._database, self._settings, self._texts = database, settings, texts
        self._kind, self._weights = kind, weights
        first = next(iter(texts))
        common = [
            key for key in texts[first] if all(key in texts[code] for code in list(texts)[:2])
        ]
        draw = np.random.default_rng(_SEED)
        self._verses = [common[place] for place in sorted(draw.permutation(len(common))[:limit])]
        self._served: dict[tuple[str, str], Served] = {}

    def report(self, count: int) -> Report:
        rows = []
        sets = list(query_sets(self._texts, self._verses, count, self._kind.embedded))
        self._release(sets)
        for asked in sets:
            for row in self._asked(asked):
                say(" | ".join(row))  # a run may last hours
                rows.append(row)
        return Report(
            f"{self._kind.name}: {len(self._verses):,} verses of each version",
            (
                "queries",
                "by",
                *MEASURES,
                "hit@1, both − better",
                "nDCG@10, both − better",
                "P95 ms",
            ),
            rows,
        )

    def _release(self, sets: Sequence[QuerySet]) -> None:
        """Load what the sets search, and measure what words count, as a release would."""
        codes = [code for code in dict.fromkeys(asked.version for asked in sets)
                 if self._searched(self._kind, code) is not None]  # fmt: skip
        if not codes:
            return
        targets = [self._served[self._kind.name, code].target for code in codes]
        target = replace(
            targets[0], scopes={c: n for one in targets for c, n in one.scopes.items()}
        )
        with self._database.connect(autocommit=True) as connection:
            prepare_connection(connection)
            served = served_on_trial(connection, target)
            served = replace(served, text=ReleasedText(_statistics(connection, codes)))
            pairs = pairs_of(target.scopes, served.languages)
            scores = scores_of(connection, self._settings, served, pairs)
        weights = weights_of(scores, served.languages)
        say(f"{self._kind.name}: words count {weights or TEXT_WEIGHT}")
        for code in codes:
            of = self._served[self._kind.name, code]
            text = replace(of.text, weights=weights)
            self._served[self._kind.name, code] = replace(of, text=text)

    def _asked(self, asked: QuerySet) -> Iterator[tuple[str, ...]]:
        vectors = self._kind.queries(asked)
        served = self._searched(self._kind, asked.version)
        if vectors is None or served is None:
            return
        kept = [place for place, vector in enumerate(vectors) if vector.any()]
        say(f"{self._kind.name}: {asked.name}, {len(kept):,} queries")
        first = None if self._kind.first is None else self._kind.first.queries(asked)
        found: dict[str, list[Measures]] = {}
        for way in _searches(self._weights, two_spaces=first is not None):
            if "rerank" in way.how and first is not None:
                found[way.name], p95 = self._search(
                    asked, kept, first, self._reranking(asked.version), way, large=vectors
                )
            else:
                found[way.name], p95 = self._search(asked, kept, vectors, served, way)
            yield (
                f"{asked.name} ({len(kept):,})" if way.name == "vectors" else "",
                way.name,
                *(str(value) for value in means(found[way.name]).values()),
                *(_compared(found, way, measure) for measure in ("hit_at_1", "ndcg_at_10")),
                f"{p95:.0f}",
            )

    def _search(
        self,
        asked: QuerySet,
        kept: Sequence[int],
        vectors: Vectors,
        served: Served,
        way: _Searched,
        *,
        large: Vectors | None = None,
    ) -> tuple[list[Measures], float]:
        request = replace(
            SearchRequest(top_k=DEEP, versions=(asked.version,)),
            **way.how,  # type: ignore[arg-type]
        )
        found, latencies = [], []
        encoder = CrossEncoder(self._settings)
        with self._database.connect(autocommit=True) as connection, asyncio.Runner() as loop:
            prepare_connection(connection)
            for place in kept:
                one = replace(request, text=asked.queries[place])
                started = time.perf_counter()
                result = search(
                    connection, self._settings, served, one, vectors[place],
                    large_vector=None if large is None else large[place],
                )  # fmt: skip
                if one.cross_encoder:
                    result = loop.run(reranked(encoder, one, result))
                    assert result.reranking is not None
                    assert result.reranking.outcome == "done", result.reranking
                hits = result.hits
                latencies.append((time.perf_counter() - started) * 1000)
                if way.name == "words":
                    hits = tuple(hit for hit in hits if hit.source != "vector")
                ranked = list(dict.fromkeys(hit.usfm for hit in hits))
                found.append(measures(ranked, {asked.wanted[place]: 1}))
            loop.run(encoder.aclose())
        return found, float(np.percentile(latencies, 95))

    def _reranking(self, code: str) -> Served:
        """A version whose candidates come from the lexical space, and whose order from this one."""
        assert self._kind.first is not None
        small, large = (self._searched(kind, code) for kind in (self._kind.first, self._kind))
        assert small is not None
        assert large is not None
        return replace(small, large=large.target.table)

    def _searched(self, kind: Kind, code: str) -> Served | None:
        """A version in a space of its own, loaded at the first use."""
        if (kind.name, code) not in self._served:
            verses = [key for key in self._verses if key in self._texts[code]]
            vectors = kind.passages(code, self._texts[code], verses)
            if vectors is None:
                return None
            say(f"{kind.name}: loading {len(verses):,} verses of {code}")
            with self._database.connect() as connection:
                self._served[kind.name, code] = self._load(connection, kind, code, verses, vectors)
        return self._served[kind.name, code]

    def _load(
        self,
        connection: Connection,
        kind: Kind,
        code: str,
        verses: Sequence[str],
        vectors: Vectors,
    ) -> Served:
        language = code.partition("_")[0].lower()
        declared = VersionDeclaration(code, language, "public domain", True, True)
        bible = BibleText("made", tuple(_verse(key, self._texts[code][key]) for key in verses),
                          len(verses), ())  # fmt: skip
        load_verses(connection, code, declared, bible, source_hash="made", run_id=RUN_ID)
        chosen = self._settings.model_copy(
            update={
                "rag_embedding_small_model": f"relevance, {kind.name}",
                "rag_embedding_small_dimensions": vectors.shape[1],
            }
        )
        table = bible_table(register_space(connection, chosen, "small"))
        _copy(connection, table, code, verses, vectors)
        target = Target(table, {code: len(verses)}, None, table.space.spec.precision, None)
        return replace(
            served_on_trial(connection, target), text=ReleasedText(_statistics(connection, [code]))
        )


def _statistics(connection: Connection, codes: Sequence[str]) -> int:
    row = connection.execute("SELECT collect_text_statistics('bible', %s)", (codes,)).fetchone()
    assert row is not None
    return int(row[0])


def _verse(key: str, text: str) -> Verse:
    book, _, place = key.partition(" ")
    chapter, _, verses = place.partition(":")
    first, _, last = verses.partition("-")
    return Verse(book, int(chapter), int(first), int(last or first), text)


def _copy(
    connection: Connection, table: VectorTable, code: str, verses: Sequence[str], vectors: Vectors
) -> None:
    """The vectors, by the verses' ids."""
    prepare_connection(connection)
    stored = {
        (book, chapter, verse): (key, hashed)
        for key, book, chapter, verse, hashed in connection.execute(
            "SELECT verse_id, book, chapter, verse, text_hash FROM verses WHERE version_code = %s",
            (code,),
        )
    }
    announce(connection, table, code)
    statement = sql.SQL(
        "INSERT INTO {} (verse_id, version_code, language, book, chapter, embedding, text_hash,"
        " run_id) VALUES (%s, %s, %s, %s, %s, %s, %b, %s)"
    ).format(table.identifier)
    rows = []
    for key, vector in zip(verses, vectors, strict=True):
        verse = _verse(key, "")
        number, hashed = stored[verse.book, verse.chapter, verse.verse]
        rows.append(
            (number, code, code[:2].lower(), verse.book, verse.chapter, vector, hashed, RUN_ID)
        )
    connection.cursor().executemany(statement, rows)
    record_change(connection, table, code, len(rows))


def _compared(found: Mapping[str, Sequence[Measures]], way: _Searched, measure: str) -> str:
    """Both against the better of the two halves, paired by query."""
    if not way.halves:
        return ""
    halves = [[getattr(one, measure) for one in found[half]] for half in way.halves]
    better = max(halves, key=sum)
    differences = [getattr(b, measure) - h for b, h in zip(found[way.name], better, strict=True)]
    difference = mean(differences)
    worse = "!" if difference.value < -difference.half else ""
    return f"{difference.value:+.3f} ± {difference.half:.3f}{worse}"


if __name__ == "__main__":
    main()
