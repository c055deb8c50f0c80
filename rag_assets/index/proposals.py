"""Propose golden queries from the corpus, for a person to reword and accept."""

from __future__ import annotations

from dataclasses import dataclass

from rag_assets.bible.sql.verses import version_languages
from rag_assets.index.indexed_tables import indexed_tables
from rag_assets.index.sql.passage_texts import places_of, sample_texts
from rag_assets.index.text_queries import FRAGMENT_LETTERS, FRAGMENT_WORDS, JUDGING, part_of
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.confinement import primary
from rag_assets.retrieval.servable import servable_scopes
from rag_assets.settings.model import Settings


@dataclass(frozen=True)
class Proposal:
    """A few words out of a passage.

    :param expected: the verse, or the document's key.
    :param passage: the whole text, to reword the query by.
    """

    language: str
    text: str
    expected: str
    passage: str


def propose_queries(
    connection: Connection, settings: Settings, count: int, *, seed: int
) -> tuple[Proposal, ...]:
    """Draw passages of both corpora at random, as many of each as there are tables with rows.

    :raises ConfigurationError: nothing has been embedded.
    """
    tables = [
        table
        for table in indexed_tables(connection, settings)
        if servable_scopes(connection, settings, table)
    ]
    languages = version_languages(connection)
    proposals = []
    for nth, table in enumerate(tables):
        wanted = count // len(tables) + (nth < count % len(tables))
        drawn = sample_texts(
            connection, table, list(servable_scopes(connection, settings, table)), wanted,
            min_words=FRAGMENT_WORDS + 1, min_letters=2 * FRAGMENT_LETTERS, seed=seed,
            half=JUDGING,
        )  # fmt: skip
        places = places_of(connection, table, [row for row, _, _ in drawn])
        for row, scope, text in drawn:
            verse = table.corpus == "bible"
            proposals.append(
                Proposal(
                    primary(languages[scope] if verse else scope),
                    part_of(text, row, None),
                    places[row][1] if verse else places[row][0],
                    " ".join(text.split()),
                )
            )
    return tuple(proposals)
