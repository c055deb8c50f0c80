"""What the active release serves, as a search needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rag_assets.errors import NotReleasedError
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.policy import may_be_served
from rag_assets.settings import Settings
from rag_assets.store.bible import rows_by_book, version_languages
from rag_assets.store.database import Connection
from rag_assets.store.generations import generation_precision
from rag_assets.store.releases import active_release
from rag_assets.store.spaces import space_by_id
from rag_assets.store.vector_tables import VectorTable, bible_table


@dataclass(frozen=True)
class Served:
    """One release in force.

    :param target: the small space, its index, and the versions that policy still lets be served.
    :param large: where re-ranking finds its vectors, when the release has them.
    :param languages: BCP 47 tag of each version served.
    :param books: rows by version and book.
    :param withheld: versions of the release that policy keeps out by now.
    """

    release_id: int
    target: Target
    large: VectorTable | None
    languages: Mapping[str, str]
    books: Mapping[tuple[str, str], int]
    withheld: frozenset[str]


def served_now(connection: Connection, settings: Settings) -> Served:
    """Read the active release. A licence that was withdrawn since counts at once.

    :raises NotReleasedError: nothing is released yet.
    """
    release = active_release(connection)
    small = release.space("bible", "small") if release else None
    if release is None or small is None:
        raise NotReleasedError(
            "nothing is released yet: materialize verse_embeddings_index and release, or run "
            "`rag-assets release activate` (`rag-assets release gate` says what is missing)"
        )
    table = bible_table(space_by_id(connection, small.space_id, "small"))
    large = release.space("bible", "large")
    servable = may_be_served(connection, settings)
    released = release.manifest["content"]["versions"]
    scopes = {code: released[code]["rows"] for code in release.versions if code in servable}
    precision = generation_precision(connection, small.generation) or table.space.spec.precision
    return _served(
        connection,
        Target(table, scopes, small.generation, precision, small.probes),
        release_id=release.release_id,
        large=bible_table(space_by_id(connection, large.space_id, "large")) if large else None,
        withheld=frozenset(release.versions) - scopes.keys(),
    )


def served_on_trial(connection: Connection, target: Target) -> Served:
    """A target as if it were released, so that checks search it as applications would."""
    return _served(connection, target, release_id=0, large=None, withheld=frozenset())


def _served(
    connection: Connection,
    target: Target,
    *,
    release_id: int,
    large: VectorTable | None,
    withheld: frozenset[str],
) -> Served:
    spoken = version_languages(connection)
    return Served(
        release_id=release_id,
        target=target,
        large=large,
        languages={code: spoken[code] for code in target.scopes},
        books=rows_by_book(connection, list(target.scopes)),
        withheld=withheld,
    )
