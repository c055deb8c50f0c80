"""Thirty versions, from vectors or texts to a release, and then searched.

    python -m benchmarks.thirty                           both corpora, thirty versions: hours
    python -m benchmarks.thirty --only lexical            one of: dense, lexical
    python -m benchmarks.thirty --versions 3 --rows 30000
    python -m benchmarks.thirty --smoke                   made vectors and the samples

*Dense* vectors are loaded by binary COPY; *lexical* ones are embedded by the product with its
offline embedder. From there both take the product's own steps: checks of the vectors, the index
(decision, build, tuning), its checks, the gate, the release. A refusal is a result: searches are
then measured on what was refused, and not over HTTP. `--rows` cuts each version after its first
verses, among which the golden queries may find nothing to judge. An embedded PostgreSQL of the
benchmark's own, gone at the end; thirty versions take 15 GB there.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.codes.kinds import fragments
from benchmarks.index.bench import Bench, Report, own_server, say, show
from benchmarks.index.corpus import Vectors, made_corpus, real_corpus
from benchmarks.thirty import corpus, searches, steps
from rag_assets.bible.reader import read_bible
from rag_assets.postgres.database import Database
from rag_assets.retrieval.query_vectors import embed_queries
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import find_space

VERSIONS, SMOKE_VERSIONS = 30, 4
QUERIES, SMOKE_QUERIES = 200, 40
DIMENSIONS, SMOKE_DIMENSIONS, SMOKE_VERSES = 1536, 64, 1_000


@dataclass(frozen=True)
class Wanted:
    """One run.

    :param verses: of each version at most; ``None`` for all.
    """

    versions: int
    verses: int | None
    queries: int
    smoke: bool


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--smoke", action="store_true", help="made vectors and the samples")
    options.add_argument("--only", choices=PARTS, nargs="+", help="these corpora")
    options.add_argument("--versions", type=int, help=f"{VERSIONS} without --smoke")
    options.add_argument("--rows", type=int, help="in all, in versions of one size; all without it")
    options.add_argument("--queries", type=int, help=f"{QUERIES} without --smoke")
    given = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and take the server along
    versions = given.versions or (SMOKE_VERSIONS if given.smoke else VERSIONS)
    wanted = Wanted(
        versions,
        given.rows and given.rows // versions,
        given.queries or (SMOKE_QUERIES if given.smoke else QUERIES),
        given.smoke,
    )
    for name in given.only or PARTS:
        say(name)
        PARTS[name](wanted)


def dense(wanted: Wanted) -> None:
    """Vectors of a real model, and near neighbours of them."""
    vectors = (
        made_corpus(SMOKE_VERSES, SMOKE_DIMENSIONS, SMOKE_DIMENSIONS)
        if wanted.smoke
        else real_corpus(DIMENSIONS)
    )
    vectors, rows = corpus.dense_versions(vectors, wanted.versions, wanted.verses)
    own = {
        "rag_embedding_small_dimensions": vectors.dimensions,
        "rag_golden_queries": None,  # no model to embed texts
        "rag_index_text_sample": 0,
    }
    with own_server() as (database, usual):
        settings = _settings(usual, wanted).model_copy(update=own)
        bench = Bench(database, settings, vectors, (rows,), 1, wanted.queries, wanted.smoke)
        done = steps.Steps()
        done.run("load", lambda: corpus.load_dense(bench, rows), lambda _: f"{rows:,} rows")
        what = f"{wanted.versions} versions, {vectors.what}"
        _measure(database, settings, done, vectors.queries(0, wanted.queries), what)


def lexical(wanted: Wanted) -> None:
    """Texts of real Bibles, and variations of them, embedded by character n-grams."""
    sources = list(corpus.lexical_sources(wanted.versions, smoke=wanted.smoke))
    with own_server() as (database, usual):
        settings = _settings(usual, wanted).model_copy(
            update={
                "rag_embedding_provider": "offline",
                "rag_slo_concurrency": 1,  # what two cores allow at eight is told, not judged
                "rag_bibles_dir": usual.rag_home / "bibles",
            }
        )
        done = steps.Steps()
        done.run(
            "version folders",
            lambda: corpus.add_lexical(settings, sources, wanted.verses),
            lambda _: f"{len(sources)} versions",
        )
        done.run(
            "read and embed",
            lambda: corpus.load_lexical(database, settings, sources),
            lambda rows: f"{rows:,} rows",
        )
        texts = [verse.text for verse in read_bible(sources[0].path).verses[: wanted.verses]]
        with database.connect() as connection:
            space = find_space(connection, settings, "small")
        assert space is not None
        asked = fragments(texts, wanted.queries)
        what = f"{wanted.versions} versions, lexical"
        _measure(
            database, settings, done, embed_queries(settings, space.spec, asked), what, texts=asked
        )


PARTS = {"dense": dense, "lexical": lexical}


def _settings(usual: Settings, wanted: Wanted) -> Settings:
    """The defaults, codes among them; few rows are to be searched as many are."""
    few = {"rag_search_exact_rows": 300, "rag_index_query_sample": SMOKE_QUERIES}
    return usual.model_copy(update={"rag_code_bits": None, **(few if wanted.smoke else {})})


def _measure(
    database: Database,
    settings: Settings,
    done: steps.Steps,
    queries: Vectors,
    what: str,
    *,
    texts: Sequence[str] = (),
) -> None:
    """The steps to a release, then the searches; one table each.

    :param texts: of the queries, for hybrid search; empty where the vectors have none.
    """
    table, released = steps.to_release(database, settings, done)
    show(Report(f"{what}: steps", ("step", "s", "what came of it"), done.rows))
    served = searches.served_of(database, settings, table, released=released)
    show(searches.in_process(database, settings, served, queries, what))
    if texts:
        show(searches.hybrid(database, settings, served, texts, what))
    if released:
        environment = {"RAG_EMBEDDING_PROVIDER": settings.rag_embedding_provider}
        show(searches.over_http(served, queries, settings.rag_home, environment, what))
    show(searches.sizes(database, what))


if __name__ == "__main__":
    main()
