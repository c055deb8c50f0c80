"""What the active release serves, in the form that a search needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rag_assets.bible.sql.verses import rows_by_book, version_languages
from rag_assets.documents.sql.corpora import document_corpora
from rag_assets.postgres.database import Connection
from rag_assets.retrieval.plan import Target, codes_of
from rag_assets.retrieval.servable import may_be_served
from rag_assets.retrieval.sql.chunks import chunks_by_corpus
from rag_assets.retrieval.unreleased import nothing_released
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.indexes import built_as, live_indexes
from rag_assets.vectors.sql.prewarm import prewarm
from rag_assets.vectors.sql.served import (
    NO_TEXT,
    Release,
    ReleasedSpace,
    ReleasedText,
    active_release,
    released_texts,
)
from rag_assets.vectors.sql.spaces import Space, space_by_id
from rag_assets.vectors.sql.tables import (
    DOCUMENTS,
    Corpus,
    VectorTable,
    bible_table,
    documents_table,
)


@dataclass(frozen=True)
class ServedDocuments:
    """The documents of a release: all of its corpora that have vectors, those added since, too.

    :param target: the small space, its index, and the approximate number of chunks per language.
    :param corpora: the corpora that are released, with their chunks by language.
    :param complete: whether there are no others, so that no filter keeps theirs out.
    :param large: the table to re-rank with; ``None`` if the release has no large vectors.
    :param text: how words are searched.
    """

    target: Target
    large: VectorTable | None
    corpora: Mapping[str, Mapping[str, int]]
    complete: bool = True
    text: ReleasedText = NO_TEXT

    def in_languages(self, corpora: Sequence[str]) -> dict[str, int]:
        """Approximate number of chunks of these corpora by language."""
        return by_language({corpus: self.corpora[corpus] for corpus in corpora})


def by_language(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Chunks by language, from those by corpus and language."""
    found: Counter[str] = Counter()
    for one in counts.values():
        found.update(one)
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Served:
    """An active release.

    :param target: the Bible's small space, its index, and the versions that policy still allows;
        no versions if only documents are released.
    :param large: the table to re-rank with; ``None`` if the release has no large vectors.
    :param languages: BCP 47 tag of each version served.
    :param books: rows by version and book.
    :param withheld: versions of the release that policy no longer allows.
    :param documents: in the same small space; ``None`` if none are released.
    :param text: how words are searched.
    :param bibles_dir: where versions have folders, to name one that is not loaded.
    """

    release_id: int
    target: Target
    large: VectorTable | None
    languages: Mapping[str, str]
    books: Mapping[tuple[str, str], int]
    withheld: frozenset[str]
    documents: ServedDocuments | None = None
    text: ReleasedText = NO_TEXT
    bibles_dir: Path | None = None

    @property
    def large_space(self) -> Space | None:
        """The space that the release re-ranks in, whichever corpora have vectors there."""
        table = self.large or (self.documents.large if self.documents else None)
        return table.space if table else None


def served_now(connection: Connection, settings: Settings) -> Served:
    """Read the active release, without versions whose licence has been withdrawn since.

    :raises NotReleasedError: nothing is released yet; says what is missing.
    """
    release = active_release(connection)
    bible = release.space("bible", "small") if release else None
    documents = release.space("documents", "small") if release else None
    small = bible or documents
    if release is None or small is None:
        raise nothing_released(connection, settings)
    table = bible_table(space_by_id(connection, small.space_id, "small"))
    large = release.space("bible", "large")
    servable = may_be_served(connection, settings)
    released = release.manifest["content"]["versions"]
    scopes = {code: released[code]["rows"] for code in release.versions if code in servable}
    served = _served(
        connection,
        _target(connection, table, scopes, bible),
        release_id=release.release_id,
        large=bible_table(space_by_id(connection, large.space_id, "large")) if large else None,
        withheld=frozenset(release.versions) - scopes.keys(),
    )
    served = replace(
        served,
        text=_text(connection, release.release_id, "bible"),
        bibles_dir=settings.rag_bibles_dir,
    )
    if documents is None:
        return served
    return replace(served, documents=_served_documents(connection, release))


def recounted(connection: Connection, served: Served) -> Served:
    """A copy with the documents' chunks counted again."""
    if served.documents is None:
        return served
    counts = chunks_by_corpus(connection)
    corpora = {corpus: counts.get(corpus, {}) for corpus in served.documents.corpora}
    target = replace(served.documents.target, scopes=by_language(corpora))
    text = _text(connection, served.release_id, "documents")
    documents = replace(served.documents, target=target, corpora=corpora, text=text)
    return replace(served, documents=documents)


def warm(connection: Connection, served: Served) -> None:
    """Load the codes and indexes of a release into memory before the first searches need them."""
    targets = [served.target] + ([served.documents.target] if served.documents else [])
    for target in targets:
        names = [target.codes.code_set.name] if target.codes else []
        if target.generation is not None:
            names += [
                index.name
                for index in live_indexes(connection, target.table)
                if index.generation == target.generation
            ]
        prewarm(connection, names)


def served_on_trial(connection: Connection, target: Target) -> Served:
    """Present a target as if it were released, so that checks search it as applications would."""
    if target.table.corpus == "bible":
        return _served(connection, target, release_id=0, large=None, withheld=frozenset())
    table = bible_table(target.table.space)
    nothing = Target(table, {}, None, table.space.spec.precision, None)
    served = _served(connection, nothing, release_id=0, large=None, withheld=frozenset())
    return replace(served, documents=ServedDocuments(target, None, {DOCUMENTS: target.scopes}))


def _served_documents(connection: Connection, release: Release) -> ServedDocuments | None:
    small, large = release.space("documents", "small"), release.space("documents", "large")
    if small is None:
        return None
    table = documents_table(space_by_id(connection, small.space_id, "small"))
    counts = chunks_by_corpus(connection)
    corpora = {corpus: counts.get(corpus, {}) for corpus in release.corpora}
    return ServedDocuments(
        _target(connection, table, by_language(corpora), small),
        documents_table(space_by_id(connection, large.space_id, "large")) if large else None,
        corpora,
        complete=document_corpora(connection).keys() <= corpora.keys(),
        text=_text(connection, release.release_id, "documents"),
    )


def _text(connection: Connection, release_id: int, corpus: Corpus) -> ReleasedText:
    return released_texts(connection, release_id).get(corpus, NO_TEXT)


def _target(
    connection: Connection,
    table: VectorTable,
    scopes: Mapping[str, int],
    released: ReleasedSpace | None,
) -> Target:
    """How to search a released space: exactly if its codes, and with them its index, were dropped.

    :param released: ``None`` if the release does not serve the corpus.
    """
    own = table.space.spec.precision
    exact = Target(table, scopes, None, own, None)
    if released is None:
        return exact
    codes = codes_of(connection, table, released.codes)
    if released.codes is not None and codes is None:
        return exact
    precision, lists = built_as(connection, released.generation) or (own, 0)
    return Target(
        table, scopes, released.generation, precision, released.probes, codes, lists=lists
    )


def _served(
    connection: Connection,
    target: Target,
    *,
    release_id: int,
    large: VectorTable | None,
    withheld: frozenset[str],
) -> Served:
    language_of = version_languages(connection)
    return Served(
        release_id=release_id,
        target=target,
        large=large,
        languages={code: language_of[code] for code in target.scopes},
        books=rows_by_book(connection, list(target.scopes)),
        withheld=withheld,
    )
