"""The retrieval API behind a real PgBouncer in transaction mode, with a role of few rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from rag_assets.postgres.database import Database
from rag_assets.postgres.roles import grant_api
from rag_assets_tests.api.conftest import Copy, bilingual, copied, corpus_settings  # noqa: F401
from rag_assets_tests.api.server import Server, environment_of, serving, wait_until
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.deployment import free_port, stop
from rag_assets_tests.release.corpus import check, embed, index, release_corpus

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
ROLE = "behind_the_pooler"

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed here"),
]


@pytest.fixture(scope="module")
def corpus(bilingual: Database, copied: Copy) -> Iterator[Database]:  # noqa: F811
    """A released corpus, and a role that may do no more than the API does."""
    database = copied(bilingual)
    with database.connect(autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ROLE} LOGIN")
        grant_api(connection, ROLE)
    yield database
    with database.connect(autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {ROLE}")
        connection.execute(f"DROP ROLE {ROLE}")


@pytest.fixture(scope="module")
def pooled(corpus: Database) -> Iterator[Database]:
    """The corpus through PgBouncer: four server connections for everybody."""
    folder = Path(tempfile.mkdtemp(prefix="rag-pgbouncer-"))
    port = free_port()
    socket = corpus.parameters()["host"]
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
{corpus.name} = host={socket} user={ROLE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
"""
    )
    folder.chmod(0o755)
    # It refuses to be root, and PostgreSQL's folder is open to PostgreSQL's user only.
    user = ["-u", Path(socket).owner()] if os.geteuid() == 0 else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(PGBOUNCER), *user, str(folder / "pgbouncer.ini")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    through = Database(
        f"host=127.0.0.1 port={port} user={ROLE} dbname={corpus.name} connect_timeout=5"
    )
    try:
        wait_until(lambda: _answers(through), 20, (folder / "log").read_text)
        yield through
    finally:
        stop(process)
        shutil.rmtree(folder)


def _answers(database: Database) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(database.conninfo) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False


@pytest.fixture(scope="module")
def server(pooled: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("pooled")
    environment = environment_of(
        pooled, RAG_HOME=folder, RAG_DAGSTER_DATABASE=pooled.name, RAG_DATABASE_POOLED=True
    )
    with serving(folder, environment) as service:
        yield service


def test_many_searches_of_all_kinds_are_answered_as_without_it(server: Server) -> None:
    bodies = [
        {"query": "a great fish", "top_k": 5},
        {"query": "a great fish", "top_k": 5, "versions": ["EN_SAMPLE"]},
        {"query": "the king", "hybrid": True},
        {"query": "um grande peixe", "language": "pt"},
    ]
    first = [server.found(**body)["hits"] for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: server.found(**bodies[n % 4])["hits"], range(200)))
    for number, hits in enumerate(answers):
        assert hits == first[number % 4]


def _served(server: Server) -> int:
    return int(server.http.get("/readyz").json()["release"])


def test_another_release_is_served_within_seconds_although_nothing_is_heard(
    server: Server, corpus: Database
) -> None:
    before = _served(server)
    settings = corpus_settings(corpus)
    texts = sentences(60, word="EN_MORE")
    embed(corpus, settings, "EN_MORE", texts, roles=("small", "large"))
    check(corpus, settings, "EN_MORE")
    index(corpus, settings)
    release_corpus(corpus, settings)
    started = time.monotonic()
    wait_until(lambda: _served(server) > before, 5)
    assert time.monotonic() - started < 5
    assert server.found(query="EN_MORE", versions=["EN_MORE"])["hits"]
