"""Uploading documents and following their state: permissions, results and refusals."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import DOCUMENTS, Server, environment_of, serving, wait_until
from rag_assets_tests.api.test_keys import new_key
from rag_assets_tests.api.test_problems import problem_of

MB = 2**20
OCTETS = {"Content-Type": "application/octet-stream"}


class Desk:
    """A service, the folder of its inbox, and keys."""

    def __init__(self, server: Server, inbox: Path, database: Database) -> None:
        self.server = server
        self.inbox = inbox
        self.database = database
        self.admin = {"X-API-Key": new_key(database, "admin")}
        self.reader = {"X-API-Key": new_key(database, "read")}

    def upload(self, name: str, content: bytes, **parameters: object) -> httpx.Response:
        """Upload with an administrator's key."""
        return self.server.http.post(
            DOCUMENTS,
            params={"name": name} | {key: str(value) for key, value in parameters.items()},
            content=content,
            headers=self.admin | OCTETS,
        )

    def get(self, path: str = "", **parameters: object) -> httpx.Response:
        """Read with a reader's key."""
        wanted = {key: str(value) for key, value in parameters.items()}
        return self.server.http.get(f"{DOCUMENTS}{path}", params=wanted, headers=self.reader)

    def left(self) -> list[str]:
        """Everything in the inbox's folder, including hidden files."""
        return sorted(
            path.relative_to(self.inbox).as_posix()
            for path in self.inbox.rglob("*")
            if path.is_file()
        )


@pytest.fixture(scope="module")
def desk(
    template_database: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A service that takes documents of up to 1 MB, without a release: uploads need none."""
    folder = tmp_path_factory.mktemp("desk")
    database = copied(template_database)
    environment = environment_of(
        database,
        RAG_DOCUMENTS_URL=folder / "inbox",
        RAG_DOCUMENTS_MAX_MB=1,
        RAG_API_BODY_TIMEOUT_S=1,
        RAG_API_BODY_LIMIT_KB=64,
    )
    with serving(folder, environment, ready="/healthz") as server:
        yield Desk(server, folder / "inbox", database)


def uploaded(answer: httpx.Response, status: int = 201) -> dict[str, Any]:
    """The response to an accepted upload."""
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_uploaded_document_is_stored_and_waits(desk: Desk) -> None:
    content = os.urandom(MB)  # more than the limit of other bodies
    answer = uploaded(desk.upload("reports/2026/relatório final.pdf", content))
    assert answer["path"] == "reports/2026/relatório final.pdf"
    assert (answer["bytes"], answer["how"]) == (MB, "added")
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    assert (desk.inbox / answer["path"]).read_bytes() == content

    shown = desk.get(f"/{answer['key']}").json()["document"]
    assert (shown["path"], shown["state"], shown["lane"]) == (
        answer["path"], "waiting", "rag_processing",
    )  # fmt: skip
    assert (shown["priority"], shown["attempts"], shown["error"]) == ("high", 0, None)


def test_repeating_an_upload_changes_nothing_and_replacing_needs_permission(
    desk: Desk,
) -> None:
    first = uploaded(desk.upload("same.md", b"one"))
    again = uploaded(desk.upload("same.md", b"one"), 200)
    assert (again["key"], again["how"]) == (first["key"], "unchanged")
    found = problem_of(desk.upload("same.md", b"two"), 409, "name-taken")
    assert found["field"] == "name"
    assert (desk.inbox / "same.md").read_bytes() == b"one"
    replaced = uploaded(desk.upload("same.md", b"two", replace="true"))
    assert (replaced["key"], replaced["how"]) == (first["key"], "replaced")
    assert (desk.inbox / "same.md").read_bytes() == b"two"


def test_an_upload_below_a_file_or_over_a_folder_is_the_clients_fault(
    desk: Desk,
) -> None:
    uploaded(desk.upload("report", b"one"))
    uploaded(desk.upload("2026/report.md", b"one"))
    for name in ("report/part.md", "2026"):
        found = problem_of(desk.upload(name, b"two", replace="true"), 409, "name-taken")
        assert found["field"] == "name"


def test_uploading_a_withdrawn_document_restores_it(desk: Desk) -> None:
    first = uploaded(desk.upload("withdrawn.md", b"one"))
    with desk.database.connect() as connection:
        withdraw(connection, [first["key"]], by="command")
    assert desk.get(f"/{first['key']}").json()["document"]["state"] == "withdrawn"
    again = uploaded(desk.upload("withdrawn.md", b"one"), 200)
    assert again["key"] == first["key"]
    assert desk.get(f"/{first['key']}").json()["document"]["state"] == "waiting"


@pytest.mark.parametrize(
    "name", ["../x.md", "/etc/x.md", "a/../../x.md", ".x", "a\0b", "a\nb", "x.part", "a\\b"]
)
def test_no_name_leads_outside_or_is_hidden(desk: Desk, name: str) -> None:
    before = desk.left()
    found = problem_of(desk.upload(name, b"x"), 422, "bad-name")
    assert found["field"] == "name"
    assert desk.left() == before
    assert not (desk.inbox.parent / "x.md").exists()


def test_a_page_in_a_browser_cannot_upload(desk: Desk) -> None:
    before = desk.left()
    for sent in (
        None,
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        headers = desk.admin | ({"Content-Type": sent} if sent else {})
        answer = desk.server.http.post(
            DOCUMENTS, params={"name": "page.md"}, content=b"x", headers=headers
        )
        problem_of(answer, 415, "wrong-media-type")
    assert desk.left() == before


def test_a_name_is_needed(desk: Desk) -> None:
    nameless = desk.server.http.post(DOCUMENTS, content=b"x", headers=desk.admin | OCTETS)
    problem_of(nameless, 422, "invalid-request")
    problem_of(desk.upload("", b"x"), 422, "invalid-request")
    problem_of(desk.upload("x" * 1001, b"x"), 422, "invalid-request")


def test_a_file_that_is_too_large_is_refused_with_or_without_content_length(desk: Desk) -> None:
    before = desk.left()
    found = problem_of(desk.upload("large.bin", bytes(MB + 1)), 413, "document-too-large")
    assert "RAG_DOCUMENTS_MAX_MB" in found["detail"]

    def pieces() -> Iterator[bytes]:
        for _ in range(MB // 65_536):
            yield bytes(65_536)
        yield b"x"

    with suppress(httpx.WriteError):  # the service may stop reading
        answer = desk.server.http.post(
            DOCUMENTS, params={"name": "large.bin"}, content=pieces(), headers=desk.admin | OCTETS
        )
        problem_of(answer, 413, "document-too-large")
    wait_until(lambda: desk.left() == before)
    assert uploaded(desk.upload("just.bin", bytes(MB)))["bytes"] == MB


def test_only_an_administrator_uploads_and_a_reader_may_list(desk: Desk) -> None:
    def attempt(headers: dict[str, str]) -> httpx.Response:
        return desk.server.http.post(
            DOCUMENTS, params={"name": "not-mine.md"}, content=b"x", headers=headers | OCTETS
        )

    problem_of(attempt({}), 401, "unauthorised")
    assert "admin" in problem_of(attempt(desk.reader), 403, "missing-scope")["detail"]
    assert "not-mine.md" not in desk.left()
    problem_of(desk.server.http.get(DOCUMENTS), 401, "unauthorised")
    nothing = {"X-API-Key": new_key(desk.database)}
    problem_of(desk.server.http.get(DOCUMENTS, headers=nothing), 403, "missing-scope")
    assert desk.server.http.get(DOCUMENTS, headers=desk.admin).status_code == 200


def connected(desk: Desk, name: str) -> socket.socket:
    """A connection on which an upload has started."""
    connection = socket.create_connection(("127.0.0.1", desk.server.port), timeout=30)
    head = (
        f"POST {DOCUMENTS}?name={name} HTTP/1.1\r\nHost: x\r\nX-API-Key: {desk.admin['X-API-Key']}"
        "\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhalf of it"
    )
    connection.sendall(head.encode())
    return connection


def test_an_upload_that_is_cut_off_or_stalls_leaves_nothing(desk: Desk) -> None:
    before = desk.left()
    with closing(connected(desk, "cut.md")):
        wait_until(lambda: len(desk.left()) == len(before) + 1)  # being written under another name
        assert "cut.md" not in desk.left()
    wait_until(lambda: desk.left() == before)
    with closing(connected(desk, "still.md")) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")
    wait_until(lambda: desk.left() == before)
    assert "unexpected error" not in desk.server.log
    assert "Traceback" not in desk.server.log


def test_documents_are_listed_page_by_page_and_filtered(desk: Desk) -> None:
    keys = [uploaded(desk.upload(f"page/{place}.md", b"%d" % place))["key"] for place in range(3)]
    with desk.database.connect() as connection:
        connection.execute(
            "UPDATE documents SET state = 'dead', error_class = 'NoTextError', error = 'fix it'"
            " WHERE document_key = %s",
            (keys[0],),
        )
    listed: list[str] = []
    after: int | None = 0
    while after is not None:
        page = desk.get(limit=2, after=after).json()
        listed += [document["key"] for document in page["documents"]]
        after = page["next"]
    assert listed[-3:] == keys
    assert len(set(listed)) == len(listed)
    dead = desk.get(state="dead").json()["documents"]
    assert [(one["key"], one["error_class"], one["error"]) for one in dead] == [
        (keys[0], "NoTextError", "fix it")
    ]
    assert desk.get(lane="rag_large_docs").json() | {"request_id": ""} == {
        "request_id": "", "documents": [], "next": None,
    }  # fmt: skip
    for wrong in ({"state": "lost"}, {"lane": "fast"}, {"limit": 0}, {"limit": 1001}):
        problem_of(desk.get(**wrong), 422, "invalid-request")


def test_an_unknown_document_suggests_the_nearest_keys(desk: Desk) -> None:
    key = uploaded(desk.upload("a rare name.md", b"x"))["key"]
    found = problem_of(desk.get("/rare"), 404, "unknown-document")
    assert found["choices"] == [key]
    assert f"Did you mean {key}?" in found["detail"]
    for path in ("/nothing-like-it", "/a%00b", "/%F0%9F%92%A9", "/a/b", "/"):
        problem_of(desk.get(path), 404, "unknown-document")


def test_a_storage_that_accepts_no_files_is_a_problem_of_the_service(desk: Desk) -> None:
    desk.inbox.mkdir(exist_ok=True)
    aside = desk.inbox.rename(desk.inbox.with_name("aside"))
    desk.inbox.touch()  # no longer a folder
    try:
        found = problem_of(desk.upload("x.md", b"x"), 503, "inbox-unavailable")
        assert "x.md cannot be written to the inbox" in found["detail"]
    finally:
        desk.inbox.unlink()
        aside.rename(desk.inbox)
    uploaded(desk.upload("x.md", b"x"))


@pytest.mark.slow
def test_without_keys_only_this_machine_uploads_and_a_wrong_inbox_is_reported(
    template_database: Database, copied: Copy, tmp_path: Path
) -> None:
    environment = environment_of(copied(template_database), RAG_DOCUMENTS_URL="nonsense://x")
    with serving(tmp_path, environment, ready="/healthz") as server:

        def attempt(**headers: str) -> httpx.Response:
            return server.http.post(
                DOCUMENTS, params={"name": "a.md"}, content=b"x", headers=OCTETS | headers
            )

        found = problem_of(attempt(), 503, "inbox-unavailable")
        assert "Protocol not known" in found["detail"]
        problem_of(attempt(Host="a-page.example:80"), 401, "unauthorised")
        assert server.http.get(DOCUMENTS).json()["documents"] == []
