"""What other systems say is shown without the secrets that they were sent."""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from urllib.parse import quote

import pytest

from openai_emulator.faults import FORMS, Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets import secrecy
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.embedding.providers.openai_client import OpenAIEmbedder
from rag_assets.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    DatabaseUnavailableError,
    InboxUnavailableError,
    RagAssetsError,
    reason_of,
)
from rag_assets.operations.broker import open_broker
from rag_assets.postgres.database import open_database
from rag_assets.secrecy import (
    MaskingFormatter,
    masked,
    place_of,
    register_keys,
    without_secrets,
    word,
)
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import SpaceSpec
from rag_assets_tests.secrets import everything_shown, shows_part_of

SMALL = SpaceSpec("openai", "text-embedding-3-small", 1536, "halfvec")
PASSWORD = "pa/ss:w0rd@7&x?y#z"  # noqa: S105


@pytest.fixture(autouse=True)
def _only_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many random keys together share short parts with any word."""
    for name in ("_parts", "_parts_of_words", "_whole", "_places"):
        monkeypatch.setattr(secrecy, name, type(getattr(secrecy, name))())


@pytest.fixture
def key() -> str:
    """As long and random as a real one."""
    made = f"sk-test-{secrets.token_urlsafe(48)}"
    register_keys([made])
    return made


def ask(emulator: Emulator, key: str) -> RagAssetsError:
    async def go() -> None:
        async with OpenAIEmbedder(base_url=emulator.base_url, keys=[key], timeout_s=5) as embedder:
            await embedder.embed(["a text"], SMALL, key, "passage")

    with pytest.raises(RagAssetsError) as caught:
        asyncio.run(go())
    return caught.value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 409, 418, 422, 429, 500])
def test_a_provider_that_echoes_the_key_shows_no_part_of_it(
    emulator: Emulator, key: str, status: int, form: str
) -> None:
    emulator.order(Fault(FaultKind.ECHO, status=status, form=form))
    error = ask(emulator, key)
    assert not shows_part_of(everything_shown(error), key)
    assert not shows_part_of(repr(error.args), key)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("invalid_api_key", "invalid_api_key"),
        ("DeploymentNotFound", "DeploymentNotFound"),
        ("text-embedding-ada-002:latest", "text-embedding-ada-002:latest"),
        (503, "503"),
        (None, None),
        ("", None),
        ("two words", None),
        ("line\nbreak", None),
        ("<b>", None),
        ("[red]", None),
        ("é", None),
        ("x" * 81, None),
        ({"code": "nested"}, None),
        (["list"], None),
        (1.5, None),
    ],
)
def test_a_word_is_short_and_of_plain_letters(said: object, shown: str | None) -> None:
    assert word(said) == shown


def test_a_word_with_a_part_of_a_key_is_none(key: str) -> None:
    assert word(f"code_{key[20:25]}") is None
    assert word(f"code_{key[-4:]}") is None


@pytest.mark.parametrize(
    "encoded",
    [
        str,
        str.upper,
        str.lower,
        lambda key: key[:14],
        lambda key: key[-6:],
        lambda key: key[30:36],
        lambda key: key[::-1],
        lambda key: quote(key, safe=""),
        lambda key: "".join(f"%{byte:02x}" for byte in key.encode()),
        lambda key: key.encode().hex(),
        lambda key: base64.b64encode(key.encode()).decode(),
        lambda key: base64.urlsafe_b64encode(f"x{key}".encode()).decode(),
        lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
        lambda key: base64.b64encode(f":{key}:".encode()).decode(),
    ],
)
def test_a_key_is_masked_in_every_form(key: str, encoded: Callable[[str], str]) -> None:
    shown = masked(f"before {encoded(key)} after")
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert not shows_part_of(shown, key)


def test_what_all_keys_begin_with_and_short_keys_of_words_mask_no_words() -> None:
    secret = secrets.token_urlsafe(48)
    register_keys([f"sk-proj-{secret}", "sk-test-one", "not-needed"])
    said = "pytest-of-root/my-proj-/a.md: a key is needed"
    assert masked(said) == said
    assert word("my-proj-") == "my-proj-"
    shown = masked(f"sk-proj-{secret}, {secret[:6]}, sk-test-one, not-needed")
    assert not shows_part_of(shown, secret)
    assert shown.endswith(", ***, ***, ***")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket/inbox", "s3://bucket/inbox"),
        ("sftp://user:pw@host:22/inbox", "sftp://host:22/inbox"),
        ("sftp://user:pa/ss@host/inbox", "sftp://host/inbox"),
        ("sftp://user:p@ss/w@rd@host/inbox", "sftp://host/inbox"),
        ("https://host/inbox?sig=abc&se=1#part", "https://host/inbox"),
        ("https://host/inbox#token", "https://host/inbox"),
        ("zip://a.zip::https://u:p@host/x?k=v", "zip://a.zip::https://host/x"),
        ("zip://a.zip::filecache::s3://u:p@host/x", "zip://a.zip::filecache::s3://host/x"),
        ("sftp://user:pa::ss@host/inbox", "sftp://host/inbox"),
        ("https://host/inbox?sig=abc::def#part::end", "https://host/inbox"),
        ("inbox", "inbox"),
        ("sftp://user:pw@[::1]:22/inbox", "sftp://[::1]:22/inbox"),
    ],
)
def test_of_a_url_only_its_place_is_shown(url: str, place: str) -> None:
    assert place_of(url) == place
    assert masked(f"cannot reach {url} now") == f"cannot reach {place} now"


@pytest.mark.parametrize("password", ["a b", "a'b", 'a"b', "a<b", "a::b"])
def test_an_address_of_the_settings_is_masked_whole(password: str) -> None:
    url = f"sftp://user:{password}@host/inbox-{secrets.token_hex(4)}"
    place = url.replace(f"user:{password}@", "")
    Settings(rag_documents_url=url)
    assert masked(f"cannot reach {url} now") == f"cannot reach {place} now"


def test_what_our_own_messages_say_about_addresses_stays_readable() -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host:5432/database"):
        open_database(Settings(rag_database_url="no address"))


def test_every_secret_of_the_settings_is_masked() -> None:
    made = {name: f"{name}-{secrets.token_hex(6)}" for name in ("a", "b", "c", "d", "e", "f", "g")}
    Settings(
        openai_api_key=made["a"],
        openai_api_keys=f"other-key, {made['b']}",
        rag_database_url=f"host=h dbname=d user=u password='{made['c']}'",
        rag_database_read_url=f"postgresql://u:{made['d']}@h/d?sslmode=verify-full",
        rag_celery_broker_url=f"redis://:{made['e']}@h:6379/0",
        slack_webhook_url=f"https://hooks.example/services/T0/B0/{made['f']}",
        rag_documents_url=f"https://h/inbox?signature={made['g']}",
    )
    for name, secret in made.items():
        assert not shows_part_of(masked(f"it said {secret}!"), secret), name
    assert masked("sslmode=verify-full with services") == "sslmode=verify-full with services"


def test_a_password_that_is_a_plain_word_is_masked_in_addresses_only() -> None:
    Settings(rag_database_url="postgresql://postgres:postgres@host/corpus")
    assert masked("PostgreSQL in .rag/postgres") == "PostgreSQL in .rag/postgres"
    assert masked("to postgresql://postgres:postgres@host/x") == "to postgresql://host/x"


def test_the_causes_of_an_error_are_masked_and_keep_their_traces(key: str) -> None:
    try:
        try:
            raise KeyError(key)
        except KeyError as error:
            raise ValueError("nothing to hide") from error
    except ValueError as error:
        shown = without_secrets(error)
    assert not shows_part_of(everything_shown(shown), key)
    assert "ValueError: nothing to hide" in everything_shown(shown)
    assert "KeyError: '***'" in everything_shown(shown)
    assert shown.__traceback__ is not None


def test_an_error_without_secrets_stays_the_same_object() -> None:
    error = ValueError("nothing to hide")
    assert without_secrets(error) is error


def test_a_reason_is_one_line_with_the_class_of_what_is_not_ours(key: str) -> None:
    assert reason_of(ValueError(f"first\nsecond {key}")) == "ValueError: first second ***"
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(ValueError("a\x1b[2J\r\nb")) == r"ValueError: a\x1b[2J b"
    assert reason_of(ConfigurationError("a sentence")) == "a sentence"


def test_log_lines_and_their_traces_are_masked(key: str) -> None:
    try:
        raise ValueError(key)
    except ValueError as error:
        record = logging.LogRecord("x", 0, "x", 1, "%s", (key,), (type(error), error, None))
    assert not shows_part_of(MaskingFormatter().format(record), key)


# Servers that repeat what they were sent


@contextmanager
def server(converse: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a free port that has one conversation after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.settimeout(2)  # a client may keep its side open
                with connection, suppress(TimeoutError):
                    converse(connection)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def refuses_as_postgresql(connection: socket.socket) -> None:
    """Ask for the password in the clear, then repeat it in the refusal."""
    connection.recv(4096)  # the start-up message; sslmode=disable asks for nothing before it
    connection.sendall(b"R\0\0\0\x08\0\0\0\x03")
    password = connection.recv(4096)[5:].rstrip(b"\0")
    fields = b"SFATAL\0C28000\0Mno entry for " + password + b"\0\0"
    connection.sendall(b"E" + (len(fields) + 4).to_bytes(4) + fields)


def refuses_as_redis(connection: socket.socket) -> None:
    """Answer each command with itself."""
    while command := connection.recv(4096):
        words = b" ".join(part for part in command.split(b"\r\n") if part[:1] not in b"*$")
        answers = command.count(b"*")
        connection.sendall(b"-ERR unknown command " * 1 + words + b"\r\n")
        connection.sendall(b"-ERR again\r\n" * (answers - 1))


def test_a_database_server_that_repeats_the_password_is_not_quoted() -> None:
    with server(refuses_as_postgresql) as port:
        url = f"postgresql://u:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/d?sslmode=disable"
        database = open_database(Settings(rag_database_url=url))
        with pytest.raises(DatabaseUnavailableError, match="no entry for") as caught:
            database.connect().__enter__()
    assert PASSWORD not in everything_shown(caught.value)


def test_a_broker_that_repeats_the_password_is_not_quoted() -> None:
    with server(refuses_as_redis) as port:
        url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/0"
        broker = open_broker(Settings(rag_celery_broker_url=url, rag_celery_timeout_s=2))
        with pytest.raises(BrokerUnavailableError) as caught:
            broker.ping()
    assert PASSWORD not in everything_shown(caught.value)


def refuses_as_http(connection: socket.socket) -> None:
    """Answer with a status line that repeats the request's address."""
    request = connection.recv(65536).split(b"\r\n")[0].split(b" ")[1]
    connection.sendall(b"HTTP/1.1 403 for " + request + b"\r\ncontent-length: 0\r\n\r\n")


def test_a_store_that_repeats_its_address_is_not_quoted() -> None:
    signature = secrets.token_urlsafe(24)
    with server(refuses_as_http) as port:
        url = f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/inbox?sig={signature}#frag"
        try:
            inbox = open_inbox(Settings(rag_documents_url=url))
        except ConfigurationError as error:  # where no package for HTTP is installed
            shown = everything_shown(error)
        else:
            assert inbox.describe() == f"http://127.0.0.1:{port}/inbox"
            with pytest.raises(InboxUnavailableError) as caught:
                inbox.listing()
            shown = everything_shown(caught.value)
    assert signature not in shown
    assert PASSWORD not in shown


def test_an_ftp_server_that_repeats_the_password_is_not_quoted() -> None:
    def refuses_as_ftp(connection: socket.socket) -> None:
        connection.sendall(b"220 here\r\n")
        while command := connection.recv(4096):
            verb, _, word = command.strip().partition(b" ")
            reply = b"331 go on" if verb == b"USER" else b"530 no entry for " + word
            connection.sendall(reply + b"\r\n")

    with server(refuses_as_ftp) as port:
        url = f"ftp://someone:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/inbox"
        with pytest.raises(InboxUnavailableError, match=r"530 no entry for \*\*\*") as caught:
            open_inbox(Settings(rag_documents_url=url))
    assert PASSWORD not in everything_shown(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://someone:hunter/tail@127.0.0.1:1/inbox",
        "ftp://someone:hunter::tail@127.0.0.1:1/inbox",
        "http://127.0.0.1:1/inbox?sig=abc::hunter",
    ],
)
def test_an_address_that_is_taken_apart_in_its_password_is_not_quoted_in_pieces(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"RAG_DOCUMENTS_URL \w+://127.*: ") as caught:
        open_inbox(Settings(rag_documents_url=url))
    shown = everything_shown(caught.value)
    assert "hunter" not in shown
    assert "tail" not in shown
