"""On network connections, each side notices when the other is gone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from rag_assets.defs.storage import dagster_url
from rag_assets.postgres.database import open_database
from rag_assets.settings.model import Settings
from rag_assets_tests.deployment.servers import Cluster, folder_of_servers

QUERY = (
    "SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_keepalives_interval'), "
    "current_setting('tcp_keepalives_count'), current_setting('tcp_user_timeout')"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with folder_of_servers() as folder:
        cluster = Cluster(folder)
        cluster.make()
        cluster.start()
        yield f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres"


def test_both_client_and_server_detect_a_silent_peer(url: str) -> None:
    database = open_database(Settings(rag_database_url=url, rag_database_silence_s=12))
    with database.connect() as connection:
        assert connection.execute(QUERY).fetchone() == ("6", "2", "3", "12000")
        with connection.cursor() as cursor:
            ours = cursor.connection.info.get_parameters()
    assert (ours["keepalives_idle"], ours["tcp_user_timeout"]) == ("6", "12000")


def test_dagsters_own_connections_detect_a_silent_peer(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAG_DATABASE_URL", url)
    parts = make_url(dagster_url())
    connection = psycopg2.connect(
        host=parts.host, port=parts.port, user=parts.username, dbname=parts.database, **parts.query
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(QUERY)
            assert cursor.fetchone() == ("15", "5", "3", "30000")
    finally:
        connection.close()


def test_parameters_in_the_address_are_kept(url: str) -> None:
    given = f"{url}?keepalives_idle=99&options=-c%20work_mem%3D5MB"
    database = open_database(Settings(rag_database_url=given))
    with database.connect() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert connection.execute("SHOW tcp_user_timeout").fetchone() == ("30000",)
    assert database.parameters()["keepalives_idle"] == "99"


def test_a_pooler_and_a_socket_get_no_keepalive_options() -> None:
    pooled = Settings(rag_database_url="postgresql://u@h/d", rag_database_pooled=True)
    local = Settings(rag_database_url="postgresql://u@/d?host=/tmp")
    for settings in (pooled, local):
        assert "options" not in conninfo_to_dict(open_database(settings).conninfo)
