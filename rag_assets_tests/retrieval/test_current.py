"""A running service follows the active release and policy within a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rag_assets.errors import NotReleasedError
from rag_assets.postgres.database import Database
from rag_assets.release.releasing import roll_back
from rag_assets.retrieval.current import CurrentRelease
from rag_assets.settings.model import Settings
from rag_assets_tests.api.server import wait_until
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.documents.corpus import judge_all, publish_document
from rag_assets_tests.release.corpus import prepare, release_corpus, release_settings


class Followed:
    """The followed release, and the messages on the way."""

    def __init__(self) -> None:
        self.releases: list[int] = []
        self.warnings: list[str] = []

    @contextmanager
    def following(
        self, database: Database, settings: Settings, *, poll_every_s: float = 0.1
    ) -> Iterator[CurrentRelease]:
        """Follow until the end of the block."""
        current = CurrentRelease(
            database,
            settings,
            changed=lambda served: self.releases.append(served.release_id),
            warn=self.warnings.append,
            poll_every_s=poll_every_s,
        )
        with current:
            yield current


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return release_settings(make_settings)


def number(current: CurrentRelease) -> int:
    """The number of the release served; 0 for none."""
    try:
        return current.served.release_id
    except NotReleasedError:
        return 0


@pytest.mark.slow
def test_nothing_is_served_until_a_release_and_then_each_switch_is_noticed(
    database: Database, settings: Settings
) -> None:
    followed = Followed()
    with followed.following(database, settings, poll_every_s=4) as current:
        with pytest.raises(NotReleasedError, match=r"has not been read yet|`rag-assets bible add`"):
            _ = current.served
        prepare(database, settings, "EN_A", sentences(60))
        release_corpus(database, settings)
        wait_until(lambda: number(current) == 1)
        assert current.served.target.scopes == {"EN_A": 60}
        prepare(database, settings, "EN_B", sentences(60, word="brook"))
        release_corpus(database, settings)
        wait_until(lambda: number(current) == 2)
        assert set(current.served.languages) == {"EN_A", "EN_B"}
        roll_back(database)
        wait_until(lambda: number(current) == 1)
    assert followed.releases[-1] == 1
    assert followed.warnings == []


def test_withdrawing_a_licence_is_noticed_without_a_notification(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(60))
    prepare(database, settings, "EN_B", sentences(60, word="brook"))
    release_corpus(database, settings)
    with Followed().following(database, settings) as current:
        wait_until(lambda: number(current) == 1)
        assert current.served.withheld == frozenset()
        with database.connect() as connection:
            connection.execute(
                "UPDATE bible_versions SET enabled_for_rag = false WHERE version_code = 'EN_B'"
            )
        wait_until(lambda: current.served.withheld == {"EN_B"})
        assert set(current.served.target.scopes) == {"EN_A"}


def test_a_lost_connection_is_reported_once_and_reopened(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(60))
    release_corpus(database, settings)
    followed = Followed()
    with followed.following(database, settings) as current:
        wait_until(lambda: number(current) == 1)
        with database.connect(autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        wait_until(lambda: followed.warnings)
        assert number(current) == 1
        prepare(database, settings, "EN_B", sentences(60, word="brook"))
        release_corpus(database, settings)
        wait_until(lambda: number(current) == 2)
    assert len(followed.warnings) == 1
    assert "releases cannot be followed" in followed.warnings[0]


def test_an_unexpected_error_does_not_stop_following(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings, "EN_A", sentences(60))
    release_corpus(database, settings)
    with database.connect() as connection:
        connection.execute("ALTER TABLE releases RENAME TO releases_away")
    followed = Followed()
    with followed.following(database, settings) as current:
        wait_until(lambda: followed.warnings)
        assert number(current) == 0
        with database.connect() as connection:
            connection.execute("ALTER TABLE releases_away RENAME TO releases")
        wait_until(lambda: number(current) == 1)


def test_it_leaves_no_thread_behind(database: Database, settings: Settings) -> None:
    with Followed().following(database, settings):
        assert "release" in {thread.name for thread in threading.enumerate()}
    assert "release" not in {thread.name for thread in threading.enumerate()}


def test_whoever_waits_for_the_first_read_gets_the_active_release(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    with Followed().following(database, settings) as current:
        assert current.wait_until_read(30)
        assert number(current) == 1
    with Followed().following(database.named("gone"), settings) as current:
        assert current.wait_until_read(30)
        with pytest.raises(NotReleasedError):
            _ = current.served


def test_documents_are_counted_again_every_ten_seconds_without_a_new_release(
    database: Database, settings: Settings
) -> None:
    publish_document(database, settings, "manual.pdf", ["The pump must never run dry"])
    judge_all(database, settings)
    release_corpus(database, settings)
    now = [100.0]
    reported: list[int] = []
    current = CurrentRelease(
        database,
        settings,
        changed=lambda served: reported.append(served.release_id),
        warn=lambda _: None,
        clock=lambda: now[0],
    )

    def languages() -> dict[str, int]:
        with database.connect(autocommit=True) as connection:
            current.refresh(connection)
        assert current.served.documents is not None
        return dict(current.served.documents.target.scopes)

    assert languages() == {"en": 1}
    publish_document(database, settings, "carta.md", ["A bomba", "A válvula"], language="pt")
    now[0] += 9.9
    assert languages() == {"en": 1}
    now[0] += 0.1
    assert languages() == {"en": 1, "pt": 2}
    assert reported == [1]
