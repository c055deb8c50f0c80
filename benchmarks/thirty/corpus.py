"""Thirty versions: of dense vectors loaded as they are, or of texts that are yet to be embedded.

Dense: verses' vectors of two translations and near neighbours of them (benchmarks.index.corpus).
Lexical: real Bibles, then variations of them, in which some words are dropped and some are replaced
by others of the same Bible: as near to each other as translations are, and none a copy of another.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from benchmarks.index.bench import RUN_ID, Bench, say
from benchmarks.index.corpus import Corpus
from benchmarks.retrieve.released import fill_verses
from benchmarks.workload import ROOT, SAMPLE, declared
from rag_assets.bible.embed_verses import EmbedOptions
from rag_assets.bible.embed_versions import embed_spaces
from rag_assets.bible.intake import add_version
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.model import Verse
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import find_version_folder, read_declaration
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.tables import VectorTable

BIBLES = ROOT.parent / "shared" / "data" / "bibles"
REAL = {
    "EN_KJV": "EN_KJV/osis",
    "PT_BLIVRE": "PT_BLIVRE/usfm",
    "EN_WEB": "EN_WEB/usfm",
    "PT_ALM1911": "PT_ALM1911/ALM1911.json",
    "EN_ASV": "EN_ASV/usx",
    "EN_OEB": "EN_OEB/osis.xml",
}
_PARTS = {"EN_OEB"}
"""Versions without most of the Old Testament: not varied, so that all variations are whole."""
_REPLACED, _DROPPED = 0.15, 0.05
_SEED = 30


@dataclass(frozen=True)
class Source:
    """A version to be.

    :param path: its files, or those of the version that it varies.
    :param variation: 0 for the files as they are; otherwise the seed of the changes.
    """

    code: str
    path: Path
    variation: int = 0


def dense_versions(corpus: Corpus, versions: int, verses: int | None) -> tuple[Corpus, int]:
    """The corpus, each version cut to ``verses``, and the rows that so many versions have."""
    if verses is not None:
        cut = {code: vectors[:verses] for code, vectors in corpus.versions.items()}
        corpus = replace(corpus, versions=cut)
    sizes = [len(vectors) for vectors in corpus.versions.values()]
    return corpus, sum(islice(cycle(sizes), versions))


def load_dense(bench: Bench, rows: int) -> VectorTable:
    """Vectors by binary COPY into the space of the settings, with a verse for each."""
    table = bench.space_table(bench.settings.rag_embedding_small_model, "halfvec")
    bench.fill(table, rows)
    fill_verses(bench, table)
    return table


def lexical_sources(versions: int, *, smoke: bool) -> Iterator[Source]:
    """Real Bibles first, then variations of the whole ones in turn."""
    real = {code: BIBLES / path for code, path in REAL.items()}
    if smoke or not BIBLES.is_dir():
        real = {code: SAMPLE.with_name(code) for code in ("EN_SAMPLE", "PT_SAMPLE")}
    for code, path in islice(real.items(), versions):
        yield Source(code, path)
    whole = cycle((code, path) for code, path in real.items() if code not in _PARTS)
    for number in range(1, versions - len(real) + 1):
        code, path = next(whole)
        yield Source(f"{code[:2]}_VAR{number}", path, number)


def add_lexical(settings: Settings, sources: Sequence[Source], verses: int | None) -> None:
    """Version folders, as ``rag-assets bible add`` makes them.

    :param verses: of each version at most; ``None`` for all.
    """
    limits = reading_limits(settings)
    for source in sources:
        declaration = declared(source.code)
        if not source.variation and verses is None:
            add_version(settings.rag_bibles_dir, source.code, source.path, declaration, limits)
            continue
        text = read_bible(source.path).verses[:verses]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{source.code}.csv"
            write_csv(varied(text, source.variation) if source.variation else text, path)
            add_version(settings.rag_bibles_dir, source.code, path, declaration, limits)


def load_lexical(database: Database, settings: Settings, sources: Sequence[Source]) -> int:
    """Read, store and embed each version, as the assets ``verses`` and ``verse_embeddings`` do."""
    rows = 0
    for source in sources:
        folder = find_version_folder(settings.rag_bibles_dir, source.code)
        read = read_version(folder.path, reading_limits(settings))
        with database.connect() as connection:
            load_verses(
                connection,
                source.code,
                read_declaration(folder),
                read.bible,
                source_hash=read.source_hash,
                run_id=RUN_ID,
            )
        (report,) = embed_spaces(
            database, settings, source.code, EmbedOptions(roles=("small",)), run_id=RUN_ID
        )
        say(f"{source.code}: {report.rows:,} verses embedded")
        rows += report.rows
    return rows


def varied(verses: Sequence[Verse], seed: int) -> list[Verse]:
    """Each verse with some of its words replaced by others of the same Bible, and some dropped."""
    draw = np.random.default_rng([_SEED, seed])
    known = np.array(sorted({word for verse in verses for word in verse.text.split()}))
    return [replace(verse, text=_varied(verse.text, known, draw)) for verse in verses]


def _varied(text: str, known: np.ndarray, draw: np.random.Generator) -> str:
    words = np.array(text.split(), dtype=object)
    chance = draw.random(len(words))
    replaced = chance < _REPLACED
    words[replaced] = known[draw.integers(len(known), size=int(replaced.sum()))]
    return " ".join(words[chance < 1 - _DROPPED]) or text


def write_csv(verses: Sequence[Verse], path: Path) -> None:
    """One of the formats that the product reads: ``Book,Chapter,Verse,Text``."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("Book", "Chapter", "Verse", "Text"))
        for verse in verses:
            bridge = f"-{verse.verse_end}" if verse.verse_end > verse.verse else ""
            rows.writerow((verse.book, verse.chapter, f"{verse.verse}{bridge}", verse.text))
