"""Full text search by BM25, over the folded words of each passage (migration 0028).

Each function takes a time limit for its statement, ``timeout_ms`` (0 for none), and raises
SearchTimeoutError when the limit is reached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from rag_assets.postgres.database import Connection
from rag_assets.postgres.time_limit import limited
from rag_assets.retrieval.snippets import Forms
from rag_assets.retrieval.words import BUDGET, Asked, Term, Wanted, wanted
from rag_assets.vectors.search_plan import RowFilter
from rag_assets.vectors.sql.tables import Corpus

NARROW = 2_000
"""A filter that passes at most this many rows is ranked as a whole, whatever words they contain."""

_BY_INDEX = {"enable_seqscan": "off", "max_parallel_workers_per_gather": "0"}
"""The planner cannot see how few rows contain the words of a parameter."""


@dataclass(frozen=True)
class Matches:
    """What the words of a query find.

    :param ranked: passages with their scores, best first: the share of the query's weight that they
        contain, which repeated words can raise above one.
    :param near: scores of the passages that the vectors found, without those that contain an
        excluded word or lack a phrase.
    """

    ranked: Mapping[int, float]
    near: Mapping[int, float]


def matches(
    connection: Connection,
    corpus: Corpus,
    asked: Asked,
    *,
    statistics: int | None,
    languages: Sequence[str],
    rows: RowFilter,
    matching: int,
    limit: int,
    near: Sequence[int] = (),
    timeout_ms: int = 0,
) -> Matches:
    """The passages that contain words of a query, best first, and scores of others.

    :param statistics: those of the release; ``None`` if it has none: then all words weigh the same.
    :param languages: first parts of the tags of the languages to search.
    :param rows: the passages that may be found, ``matching`` in number, approximately.
    :param near: ids of passages to score as well.
    """
    terms = _terms(connection, asked.text, statistics, languages, timeout_ms)
    by_language = {one.language: one for one in wanted(terms)}
    required = _required(connection, asked, languages, timeout_ms) if asked.constrained else {}
    queries = [
        by_language.get(language) or Wanted(language, "", ())
        for language in languages
        if language in by_language or language in required
    ]
    if not queries:
        return Matches({}, dict.fromkeys(near, 0.0))
    with limited(connection, timeout_ms, _BY_INDEX):
        found = connection.execute(
            _statement(corpus, rows, narrow=matching <= NARROW),
            {
                "languages": [query.language for query in queries],
                "candidates": [
                    _candidates(query, required.get(query.language, ("", False)))
                    for query in queries
                ],
                "required": [required.get(query.language, ("", False))[0] for query in queries],
                "lexemes": [lexeme for query in queries for lexeme, _ in query.weights],
                "weights": [weight for query in queries for _, weight in query.weights],
                "owners": [query.language for query in queries for _ in query.weights],
                "scopes": None if rows.scopes is None else list(rows.scopes),
                "books": None if rows.books is None else list(rows.books),
                "first": rows.chapters[0] if rows.chapters else None,
                "last": rows.chapters[1] if rows.chapters else None,
                "documents": None if rows.documents is None else list(rows.documents),
                "corpora": None if rows.corpora is None else list(rows.corpora),
                "limit": limit,
                "budget": BUDGET,
                "near": list(near),
            },
        )
    ranked: dict[int, float] = {}
    scored = {} if required else dict.fromkeys(near, 0.0)
    for key, score, is_near in found.fetchall():
        (scored if is_near else ranked)[key] = score
    return Matches(dict(sorted(ranked.items(), key=lambda one: (-one[1], one[0]))[:limit]), scored)


def collect_statistics(connection: Connection, corpus: Corpus, versions: Sequence[str]) -> int:
    """Count the words of these versions, or of all documents; return the number of the counts.

    A release drops what is counted for none.
    """
    row = connection.execute(
        "SELECT collect_text_statistics(%s, %s)", (corpus, list(versions))
    ).fetchone()
    return int(row[0]) if row else 0


def drop_statistics(connection: Connection, numbers: Sequence[int]) -> None:
    """Drop counts of words."""
    connection.execute("DELETE FROM text_statistics WHERE statistics = ANY(%s)", (list(numbers),))


def word_forms(
    connection: Connection, words: Collection[tuple[str, str]], *, timeout_ms: int = 0
) -> dict[tuple[str, str], Forms]:
    """How words are folded: as words of a passage, and of a query.

    :param words: each with the first part of the tag of its language.
    """
    with limited(connection, timeout_ms):
        rows = connection.execute(
            """
            SELECT language, word, tsvector_to_array(text_lexemes(configuration, word, false)),
                   tsvector_to_array(text_lexemes(configuration, word, true))
              FROM unnest(%(languages)s::text[], %(words)s::text[]) AS asked (language, word)
              JOIN (SELECT language, text_configuration(language) AS configuration
                      FROM (SELECT DISTINCT unnest(%(languages)s::text[]) AS language) AS each
                    OFFSET 0) AS configured USING (language)
            """,
            {
                "languages": [language for language, _ in words],
                "words": [word for _, word in words],
            },
        )
    return {(language, word): Forms(*forms) for language, word, *forms in rows.fetchall()}


def _candidates(query: Wanted, required: tuple[str, bool]) -> str:
    """A phrase chooses its passages alone: it is rarer than its words."""
    condition, has_phrase = required
    if not query.candidates:
        return condition if has_phrase else ""
    if not condition:
        return query.candidates
    return condition if has_phrase else f"({query.candidates}) & {condition}"


def _terms(
    connection: Connection,
    text: str,
    statistics: int | None,
    languages: Sequence[str],
    timeout_ms: int,
) -> list[Term]:
    """The words of a text in each language. Uses the primary keys of the statistics."""
    with limited(connection, timeout_ms, {"enable_seqscan": "off"}):
        found = connection.cursor(row_factory=class_row(Term)).execute(
            """
            SELECT asked.language, w.lexeme, coalesce(t.rows, 0) AS rows,
                   coalesce(l.rows, 0) AS of_rows
              FROM unnest(%(languages)s::text[]) AS asked (language)
             CROSS JOIN LATERAL unnest(
                   text_lexemes(text_configuration(asked.language), %(text)s, true)) AS w
              LEFT JOIN text_languages l
                ON (l.statistics, l.language) = (%(statistics)s::integer, asked.language)
              LEFT JOIN text_terms t
                ON (t.statistics, t.language, t.lexeme)
                 = (%(statistics)s::integer, asked.language, w.lexeme)
            """,
            {"languages": list(languages), "text": text, "statistics": statistics},
        )
    return found.fetchall()


def _required(
    connection: Connection, asked: Asked, languages: Sequence[str], timeout_ms: int
) -> dict[str, tuple[str, bool]]:
    """By language, the condition of phrases and exclusions, and whether it contains a phrase."""
    with limited(connection, timeout_ms):
        found = connection.execute(
            """
            SELECT language, string_agg(CASE WHEN excluded THEN '!' ELSE '' END
                                        || '(' || phrase::text || ')', ' & '),
                   bool_or(NOT excluded)
              FROM unnest(%(languages)s::text[]) AS language
             CROSS JOIN unnest(%(texts)s::text[], %(excluded)s::boolean[]) AS c (text, excluded)
             CROSS JOIN LATERAL text_phrase(text_configuration(language), c.text) AS phrase
             WHERE numnode(phrase) > 0
             GROUP BY language
            """,
            {
                "languages": list(languages),
                "texts": [*asked.phrases, *asked.excluded],
                "excluded": [False] * len(asked.phrases) + [True] * len(asked.excluded),
            },
        )
    return {language: (condition, positive) for language, condition, positive in found.fetchall()}


@dataclass(frozen=True)
class _Source:
    """Where the words of a corpus are: ``w``, and what a narrow filter joins as ``p``."""

    words: sql.Identifier
    passages: sql.Identifier
    id: sql.Identifier
    by_version: bool


_SOURCES: Mapping[Corpus, _Source] = {
    "bible": _Source(
        sql.Identifier("verse_words"),
        sql.Identifier("verses"),
        sql.Identifier("verse_id"),
        by_version=True,
    ),
    "documents": _Source(
        sql.Identifier("chunk_words"),
        sql.Identifier("document_chunks"),
        sql.Identifier("chunk_id"),
        by_version=False,
    ),
}


def _statement(corpus: Corpus, rows: RowFilter, *, narrow: bool) -> sql.Composed:
    """Candidates by the GIN index on ``lexemes`` or, if narrow, by the index of the filter."""
    source = _SOURCES[corpus]
    names = {"words": source.words, "id": source.id}
    passing = _passing(source, rows, sql.Identifier("p" if narrow else "w"))
    if narrow:
        chosen = sql.SQL(
            "FROM {passages} p JOIN {words} w USING ({id}) WHERE (q.required IS NULL"
            " OR w.lexemes @@ q.required) AND w.language = q.language{passing}"
        ).format(passages=source.passages, passing=passing, **names)
    else:
        chosen = sql.SQL(
            "FROM {words} w WHERE w.lexemes @@ q.candidates AND w.language = q.language{passing}"
            " LIMIT %(budget)s"
        ).format(passing=passing, **names)
    return sql.SQL(
        """
        WITH q AS MATERIALIZED (
            SELECT language, candidates::tsquery, nullif(required, '')::tsquery AS required,
                   (SELECT ('{{' || string_agg(term || ':' || weight, ',')
                            || '}}/536870912')::sparsevec
                      FROM (SELECT text_term(lexeme) AS term, sum(weight) AS weight
                              FROM unnest(%(owners)s::text[], %(lexemes)s::text[],
                                          %(weights)s::float8[]) AS t (owner, lexeme, weight)
                             WHERE owner = language GROUP BY 1) AS weighed) AS weights,
                   (SELECT sum(weight)
                      FROM unnest(%(owners)s::text[], %(weights)s::float8[]) AS t (owner, weight)
                     WHERE owner = language) AS total
              FROM unnest(%(languages)s::text[], %(candidates)s::text[], %(required)s::text[])
                   AS asked (language, candidates, required)
        )
        SELECT found.id, found.score, false
          FROM q CROSS JOIN LATERAL (
               SELECT c.id, -(c.weights <#> q.weights) / q.total AS score
                 FROM (SELECT w.{id} AS id, w.weights {chosen}) AS c
                ORDER BY score DESC, id LIMIT %(limit)s) AS found
         WHERE found.score > 0
         UNION ALL
        SELECT w.{id}, coalesce(-(w.weights <#> q.weights) / q.total, 0), true
          FROM unnest(%(near)s::bigint[]) AS near (id)
          JOIN {words} w ON w.{id} = near.id
          LEFT JOIN q USING (language)
         WHERE q.required IS NULL OR w.lexemes @@ q.required
        """
    ).format(chosen=chosen, **names)


def _passing(source: _Source, rows: RowFilter, of: sql.Identifier) -> sql.Composed:
    """The filter, as further conditions. Documents' languages are those that are searched."""
    conditions = [
        condition
        for condition, applies in (
            (sql.SQL("{of}.version_code = ANY(%(scopes)s)"), source.by_version),
            (sql.SQL("{of}.book = ANY(%(books)s)"), rows.books is not None),
            (sql.SQL("{of}.chapter BETWEEN %(first)s AND %(last)s"), rows.chapters is not None),
            (sql.SQL("{of}.document_id = ANY(%(documents)s)"), rows.documents is not None),
            (
                sql.SQL(
                    "{of}.document_id IN (SELECT d.document_id FROM documents d"
                    " WHERE d.corpus = ANY(%(corpora)s))"
                ),
                rows.corpora is not None,
            ),
        )
        if applies
    ]
    return sql.Composed([sql.SQL(" AND ") + each.format(of=of) for each in conditions])
