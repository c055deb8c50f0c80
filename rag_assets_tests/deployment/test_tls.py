"""A server that speaks TLS only, with a certificate of an authority of its own: a managed one.

The embedded PostgreSQL is built without TLS. So a server of the system's is asked for everything
but vectors, and PgBouncer, one session each, stands before the embedded one for the rest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from rag_assets.defs.storage import dagster_url
from rag_assets.errors import DatabaseUnusableError
from rag_assets.postgres import embedded
from rag_assets.postgres.database import Database, one, open_database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import load_settings
from rag_assets_tests.api.conftest import corpus_settings
from rag_assets_tests.api.server import environment_of, serving, wait_until
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.deployment import free_port, stop
from rag_assets_tests.deployment.certificates import Authority
from rag_assets_tests.deployment.servers import Cluster, folder_of_servers
from rag_assets_tests.release.corpus import prepare, release_corpus
from rag_assets_tests.searches import ask
from rag_assets_tests.secrets import everything_shown

ROOT = Path(__file__).parents[2]
PASSWORD = "tls-owner's-password"  # noqa: S105
SYSTEMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A server that speaks TLS only, the authority of its certificate, and another one's."""

    port: int
    authority: Path
    other: Path

    def url(self, *, host: str = "127.0.0.1", database: str = "bible_api", **more: object) -> str:
        """With its certificate verified, unless told otherwise; without a password."""
        options = {"sslmode": "verify-full", "sslrootcert": self.authority} | more
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://bible_user@{host}:{self.port}/{database}?{query}"


def servers_own(*files: Path) -> None:
    """Keys are read by their owner only, and PostgreSQL is not root."""
    for file in files:
        if user := embedded.system_user():
            shutil.chown(file, user, user)


@pytest.fixture(scope="module")
def system(rag_home: Path) -> Iterator[Place]:
    """A PostgreSQL of the system's: TLS and a password for everybody but an administrator."""
    if not SYSTEMS:
        pytest.skip("no PostgreSQL of the system's is installed here")
    with folder_of_servers() as folder:
        ours, other = Authority(folder, "ours"), Authority(folder, "other")
        certificate, key = ours.sign("server", "127.0.0.1")
        servers_own(certificate, key)
        cluster = Cluster(folder, SYSTEMS[-1].parent)
        cluster.make(ssl="on", ssl_cert_file=str(certificate), ssl_key_file=str(key))
        (cluster.data / "pg_hba.conf").write_text(
            "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        cluster.start()
        with cluster.database().connect(autocommit=True) as connection:
            connection.execute(
                psycopg.sql.SQL("CREATE ROLE bible_user LOGIN PASSWORD {}").format(PASSWORD)
            )
            for name in ("bible_api", "bible_api_dagster"):
                connection.execute(f"CREATE DATABASE {name} OWNER bible_user")
        yield Place(cluster.port, ours.file, other.file)


@pytest.fixture
def as_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """The password is a secret's file."""
    (tmp_path / "rag_database_password").write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("RAG_SECRETS_DIR", str(tmp_path))
    return monkeypatch


def test_a_verified_and_bound_connection_is_made_by_us_and_by_dagster(
    system: Place, as_told: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_told.setenv("RAG_DATABASE_URL", system.url(channel_binding="require"))
    secured = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with open_database(load_settings()).connect() as connection:
        assert one(connection.execute(secured)) == (True, "TLSv1.3")

    url = make_url(dagster_url())
    asked = {name: url.query[name] for name in ("sslmode", "sslrootcert", "channel_binding")}
    assert asked == {
        "sslmode": "verify-full",
        "sslrootcert": str(system.authority),
        "channel_binding": "require",
    }
    engine = create_engine(url)
    with engine.connect() as through:
        assert tuple(through.execute(text(secured)).one()) == (True, "TLSv1.3")
    engine.dispose()
    home = tmp_path / "dagster"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    as_told.chdir(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("bible_version", ["EN_KEPT"])
        assert instance.get_dynamic_partitions("bible_version") == ["EN_KEPT"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sslrootcert": "other"}, "certificate verify failed"),
        ({"host": "localhost"}, "does not match host name"),
        ({"sslrootcert": "/nowhere/ca.pem"}, "root certificate file"),
        ({"sslmode": "disable"}, "no encryption"),
    ],
    ids=["another-authority", "another-name", "no-such-file", "in-clear"],
)
def test_what_is_wrong_with_tls_is_told_without_the_password(
    system: Place, as_told: pytest.MonkeyPatch, wrong: dict[str, str], told: str
) -> None:
    if wrong.get("sslrootcert") == "other":
        wrong = {"sslrootcert": str(system.other)}
    as_told.setenv("RAG_DATABASE_URL", system.url(**wrong))
    for work in (lambda: migrate(open_database(load_settings())), dagster_url):
        with pytest.raises(DatabaseUnusableError, match=f"TLS with .* fails: .*{told}") as caught:
            work()
        assert PASSWORD not in everything_shown(caught.value)


def test_a_wrong_password_is_told_without_it(
    system: Place, as_told: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rag_database_password").write_text("not-the-password")
    as_told.setenv("RAG_DATABASE_URL", system.url())
    with pytest.raises(DatabaseUnusableError, match="refuses the user or password") as caught:
        migrate(open_database(load_settings()))
    assert "not-the-password" not in everything_shown(caught.value)


def test_a_server_without_pgvector_is_told_what_to_install(
    system: Place, as_told: pytest.MonkeyPatch
) -> None:
    as_told.setenv("RAG_DATABASE_URL", system.url())
    with pytest.raises(DatabaseUnusableError, match=r"has no pgvector: install .*-pgvector"):
        migrate(open_database(load_settings()))


@pytest.fixture(scope="module")
def managed(rag_home: Path) -> Iterator[Place]:
    """As one gets it: pgvector enabled by an administrator, and an owner who is none."""
    if PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed here")
    with folder_of_servers() as folder:
        ours, other = Authority(folder, "ours"), Authority(folder, "other")
        certificate, key = ours.sign("server", "127.0.0.1")
        cluster = Cluster(folder)
        cluster.make(shared_buffers="64MB", fsync="off")
        cluster.start()
        with cluster.database().connect(autocommit=True) as connection:
            connection.execute("CREATE ROLE bible_user LOGIN")
            connection.execute("CREATE DATABASE bible_api OWNER bible_user")
            connection.execute("CREATE DATABASE bible_api_dagster OWNER bible_user")
        with cluster.database("bible_api").connect() as connection:
            connection.execute("CREATE EXTENSION vector")
        port = free_port()
        users, configured = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text(f'"bible_user" "{PASSWORD}"\n')
        configured.write_text(
            f"""
[databases]
* = host=127.0.0.1 port={cluster.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = session
default_pool_size = 40
client_tls_sslmode = require
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
ignore_startup_parameters = extra_float_digits, options
"""
        )
        servers_own(certificate, key, users, configured)
        user = ["-u", embedded.system_user() or ""] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [str(PGBOUNCER), "-q", *user, str(configured)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        place = Place(port, ours.file, other.file)
        through = Database(psycopg.conninfo.make_conninfo(place.url(), password=PASSWORD))
        try:
            wait_until(lambda: _answers(through), 20)
            yield place
        finally:
            stop(process)


def _answers(database: Database) -> bool:
    try:
        with psycopg.connect(database.conninfo):
            return True
    except psycopg.OperationalError:
        return False


def test_an_owner_without_further_rights_brings_a_corpus_to_its_release_and_serves_it(
    managed: Place, as_told: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_told.setenv("RAG_DATABASE_URL", managed.url())
    database = open_database(load_settings())
    migrate(database)
    settings = corpus_settings(database)
    prepare(database, settings, "EN_A", sentences(60))
    release_corpus(database, settings)
    assert ask(database, settings, "the river number 7").hits
    with database.connect() as connection:
        assert one(
            connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        ) == (False,)
        assert one(
            connection.execute(
                "SELECT rolname FROM pg_extension JOIN pg_roles r ON r.oid = extowner"
                " WHERE extname = 'vector'"
            )
        ) == ("postgres",)
    environment = environment_of(database, RAG_HOME=tmp_path, RAG_SECRETS_DIR=tmp_path)
    with serving(tmp_path, environment | {"RAG_DATABASE_URL": managed.url()}) as server:
        assert server.found(query="the river number 7")["hits"]
    assert PASSWORD not in server.log
