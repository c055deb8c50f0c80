"""Storage of Dagster's own state, in a database beside the corpus.

``dagster.yaml`` names this class, so that ``dagster dev``, the webserver, the daemon and all runs
find the database by the same settings as the corpus, embedded or not, without exported variables.
"""

from __future__ import annotations

import os
from typing import Any

from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import create_engine, event, exc
from sqlalchemy.engine import URL, Engine

from rag_assets.defs.dagster_private import use_engine
from rag_assets.postgres.database import open_dagster_database
from rag_assets.settings.model import load_settings


class CorpusSidePostgresStorage(DagsterPostgresStorage):
    """``dagster-postgres`` with the address from RAG_DATABASE_URL or the embedded server.

    A process keeps one connection: Dagster opens one for each statement, which is most of the time
    that an event takes (12 ms instead of 4) and a process of PostgreSQL each.
    """

    def __init__(self, postgres_url: str, inst_data: Any = None) -> None:
        super().__init__(postgres_url=postgres_url, inst_data=inst_data)
        use_engine(self, _engine(postgres_url))

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """No configuration: everything is a setting."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> CorpusSidePostgresStorage:
        """Called by Dagster when it loads ``dagster.yaml``."""
        del config_value
        return cls(postgres_url=dagster_url(), inst_data=inst_data)


def _engine(url: str) -> Engine:
    """An engine that keeps one connection, and opens others while more are needed.

    A connection is tested before each use, because the server may have been restarted, and is left
    to the parent after a fork.
    """
    engine = create_engine(
        url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1, pool_pre_ping=True
    )

    @event.listens_for(engine, "connect")
    def note(_: object, record: Any) -> None:
        record.info["pid"] = os.getpid()

    @event.listens_for(engine, "checkout")
    def compare(_: object, record: Any, checked_out: Any) -> None:
        if record.info["pid"] != os.getpid():
            record.dbapi_connection = checked_out.dbapi_connection = None
            raise exc.DisconnectionError("the connection belongs to the parent process")

    return engine


def dagster_url() -> str:
    """Return SQLAlchemy's URL of Dagster's database, which is created if it is missing.

    It names psycopg2 because SQLAlchemy 2.1 resolves ``postgresql://`` to psycopg 3, with which
    Dagster's webserver fails.
    """
    parts = open_dagster_database(load_settings()).parameters()
    taken = {name: parts.pop(name, None) for name in ("dbname", "user", "password", "host", "port")}
    hosts = (taken["host"] or "").split(",")
    ports = (taken["port"] or "").split(",")
    query: dict[str, str | tuple[str, ...]] = {**parts}
    if len(hosts) > 1:
        ports = ports * len(hosts) if len(ports) == 1 else ports
        query["host"] = tuple(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True))
    elif hosts[0].startswith("/"):  # a socket's folder
        query["host"] = hosts[0]
    alone = "host" not in query
    url = URL.create(
        "postgresql+psycopg2",
        username=taken["user"],
        password=taken["password"],
        host=hosts[0] or None if alone else None,
        port=int(ports[0]) if ports[0] and len(hosts) == 1 else None,
        database=taken["dbname"],
        query=query,
    )
    return url.render_as_string(hide_password=False)
