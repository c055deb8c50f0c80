"""The lag of a standby, and the addresses of standbys."""

from __future__ import annotations

import pytest

from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Database, open_database, open_replica
from rag_assets.postgres.replication import Positions, wal_position
from rag_assets.settings.model import Settings

GIVEN, OWN = "hidden-word", "another-word"


@pytest.mark.parametrize(
    ("replayed", "behind"),
    [
        (500, 0.0),  # ahead of the last recorded position: written since
        (400, 0.0),
        (399, 1.0),
        (300, 1.0),
        (200, 2.0),
        (100, 3.0),
        (99, 3.0),  # before the recorded history: a minimum
    ],
)
def test_a_standby_lags_by_the_time_since_the_primary_was_at_its_position(
    replayed: int, behind: float
) -> None:
    positions = Positions()
    for second, position in enumerate((100, 200, 300, 400)):
        positions.add(float(second), position)
    positions.add(3.0, None)  # a poll without a position
    assert positions.behind(replayed, 3.0) == behind


def test_a_standby_that_has_everything_does_not_lag_while_nothing_is_written() -> None:
    positions = Positions()
    for second in range(2000):  # more than are kept
        positions.add(float(second), 100)
    assert positions.behind(100, 1999.0) == 0
    assert Positions().behind(5, 0.0) == 0


def test_a_primary_reports_how_much_it_has_written(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        before = wal_position(connection)
        connection.execute("CREATE TABLE written AS SELECT 1 AS a")
        after = wal_position(connection)
    assert before is not None
    assert after is not None
    assert after > before


def settings(**given: object) -> Settings:
    return Settings(rag_database_url="postgresql://u@one/d", **given)


def test_a_replica_has_the_password_of_the_primary_unless_its_address_has_one() -> None:
    assert open_replica(settings()) is None
    found = open_replica(
        settings(rag_database_read_url="postgresql://u@two/d", rag_database_password=GIVEN)
    )
    assert found is not None
    assert found.parameters()["password"] == GIVEN
    assert found.parameters()["target_session_attrs"] == "prefer-standby"
    assert GIVEN not in repr(found)
    own = open_replica(
        settings(rag_database_read_url=f"postgresql://u:{OWN}@two/d", rag_database_password=GIVEN)
    )
    assert own is not None
    assert own.parameters()["password"] == OWN


def test_the_writable_one_of_several_hosts_is_the_primary() -> None:
    several = Settings(rag_database_url="postgresql://u@one,two:5433/d")
    assert open_database(several).parameters()["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in open_database(settings()).parameters()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rag_database_read_url": "two"}, "RAG_DATABASE_READ_URL is not an address"),
        ({"rag_database_read_url": "postgresql://u:geheim@two/"}, "READ_URL names no database"),
        ({"rag_database_read_url": "postgresql://u:ge@heim@two/d"}, "READ_URL's password holds"),
    ],
)
def test_a_wrong_address_is_reported_without_its_password(
    given: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_replica(settings(**given))
    assert "heim" not in str(caught.value)


def test_a_replica_of_the_embedded_server_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is a replica of RAG_DATABASE_URL: set that"):
        open_replica(Settings(rag_database_read_url="postgresql://u@two/d"))
