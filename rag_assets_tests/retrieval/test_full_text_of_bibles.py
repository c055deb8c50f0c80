"""Full text search of real Bibles, where the shared ones are on this machine: the Psalms."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from rag_assets.bible.model import BibleText
from rag_assets.bible.reader import read_bible
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.postgres.database import Connection, Database
from rag_assets.retrieval.sql.full_text import collect_statistics, matches
from rag_assets.retrieval.words import take_apart
from rag_assets.vectors.search_plan import RowFilter
from rag_assets_tests.bible.conftest import BIBLES

VERSIONS = {"EN_KJV": "EN_KJV/osis/ps.xml", "PT_ALM1911": "PT_ALM1911/ALM1911.json"}


def found(connection: Connection, statistics: int, query: str, limit: int) -> Sequence[str]:
    ranked = matches(
        connection, "bible", take_apart(query), statistics=statistics, languages=["en", "pt"],
        rows=RowFilter(tuple(VERSIONS)), matching=5_000, limit=limit,
    ).ranked  # fmt: skip
    places = dict(
        connection.execute(
            "SELECT verse_id, version_code || ' ' || book || ' ' || chapter || ':' || verse"
            " FROM verses WHERE verse_id = ANY(%s)",
            (list(ranked),),
        ).fetchall()
    )
    return [places[row] for row in ranked]


def test_the_psalms_are_searched_by_words(database: Database) -> None:
    if not BIBLES.is_dir():
        pytest.skip("the shared Bibles are not on this machine")
    for code, path in VERSIONS.items():
        declared = VersionDeclaration(code, code[:2].lower(), "public domain", True, True)
        whole = read_bible(BIBLES / path)
        psalms = tuple(verse for verse in whole.verses if verse.book == "PSA")
        bible = BibleText(whole.format, psalms, len(psalms), ())
        with database.connect() as connection:
            load_verses(connection, code, declared, bible, source_hash="test", run_id="load")
    with database.connect(autocommit=True) as connection:
        connection.execute("ANALYZE verse_words")
        counted = collect_statistics(connection, "bible", list(VERSIONS))
        assert found(connection, counted, "the Lord is my shepherd", 3)[0] == "EN_KJV PSA 23:1"
        hearts = connection.execute(
            "SELECT count(*) FROM verses WHERE version_code = %s AND text ~* %s",
            ("PT_ALM1911", r"\mcoração\M"),
        ).fetchone()
        assert hearts is not None
        assert hearts[0] > 50
        assert len(found(connection, counted, "coracao", 1_000)) >= hearts[0]
        row = connection.execute(
            "SELECT string_agg(text, ' ' ORDER BY verse_id) FROM verses"
            " WHERE version_code = 'EN_KJV' AND chapter > 100"
        ).fetchone()
        assert row is not None
        words = row[0].split()[:1_000]
        assert len(words) == 1_000
        for query in (" ".join(words), "the and of to in that he shall unto for"):
            before = time.thread_time()
            hits = found(connection, counted, query, 100)
            assert all(hit.startswith("EN_KJV") for hit in hits[:3])
            assert time.thread_time() - before < 1  # the client's own part
