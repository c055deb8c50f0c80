"""``rag-assets documents`` as people use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets.documents.sql.lanes import paused_lanes, resume_lane
from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Done, Run


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the commands run; the inbox is below it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(workplace: Path, database: Database) -> Run:
    """Run a command in this process: starting the program takes a second each."""

    def run(*arguments: str, **extra: str) -> Done:
        settings = {"RAG_DATABASE_URL": database.conninfo, "RAG_EMBEDDING_PROVIDER": "offline"}
        done = CliRunner().invoke(app, arguments, env=settings | extra)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Done(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def papers(workplace: Path) -> Path:
    """A folder with documents, beside the inbox."""
    folder = workplace / "my papers"
    (folder / "sub").mkdir(parents=True)
    (folder / "minutes.md").write_text("# Minutes\nAll were there.")
    (folder / "sub" / "notes [1].txt").write_text("notes")
    (folder / ".hidden").write_text("x")
    (folder / "link.md").symlink_to("minutes.md")
    return folder


def end(database: Database, key: str, error_class: str) -> None:
    """Make a document a dead letter, as a run would."""
    with database.connect() as connection:
        connection.execute(
            "UPDATE documents SET state = 'dead', attempts = 1, ended_at = now(), error_class = %s,"
            " error = 'it is [bold]wrong[/bold]: mend it' WHERE document_key = %s",
            (error_class, key),
        )


def test_documents_are_added_listed_shown_and_found_again(
    run: Run, papers: Path, workplace: Path
) -> None:
    assert run("documents", "list").out.strip() == "no document"
    added = run("documents", "add", "my papers", "my papers/minutes.md", "--json")
    assert added.status == 1  # a link was in it
    assert set(added.json["keys"]) == {
        "my papers/minutes.md", "my papers/sub/notes [1].txt", "minutes.md",
    }  # fmt: skip
    assert list(added.json["refused"].values()) == ["is a link, which is not followed"]
    assert (workplace / "inbox" / "my papers" / "sub" / "notes [1].txt").read_text() == "notes"

    rows = run("documents", "list", "--json").json
    assert {row["path"] for row in rows} == set(added.json["keys"])
    assert {(row["state"], row["lane"], row["priority"]) for row in rows} == {
        ("waiting", "rag_processing", "high")
    }
    assert "notes" in run("documents", "list").out
    key = added.json["keys"]["minutes.md"]
    shown = run("documents", "show", key)
    assert "waiting" in shown.out
    assert run("documents", "show", key, "--json").json["path"] == "minutes.md"
    assert len(run("documents", "list", "--json", "--limit", "2").json) == 2
    assert run("documents", "list", "--json", "--lane", "rag_large_docs").json == []
    assert len(run("documents", "list", "--json", "--state", "waiting").json) == 3

    again = run("documents", "add", "inbox/minutes.md", "my papers/minutes.md")
    assert again.status == 0, again.err
    assert len(run("documents", "list", "--json").json) == 3
    (papers / "minutes.md").write_text("# Minutes\nNobody was there.")
    taken = run("documents", "add", "my papers/minutes.md")
    assert taken.status == 1
    assert "with different content" in taken.err
    (workplace / "inbox" / "occupied").write_text("a file in a folder's place")
    papers.rename(workplace / "occupied")
    some = run("documents", "add", "occupied", "occupied/sub/notes [1].txt", "--json")
    assert set(some.json["keys"]) == {"notes [1].txt"}  # what can be taken is
    assert "cannot be a file of the inbox" in some.json["refused"]["occupied/minutes.md"]
    (workplace / "occupied").rename(papers)
    replaced = run("documents", "add", "--replace", "my papers/minutes.md")
    assert replaced.status == 0, replaced.err
    assert (workplace / "inbox" / "minutes.md").read_text().endswith("Nobody was there.")


def test_a_look_at_the_inbox_says_what_happened_there(run: Run, workplace: Path) -> None:
    settled = {"RAG_DOCUMENTS_SETTLE_S": "0"}
    assert run("documents", "scan").out.strip() == "nothing new in the inbox"
    (workplace / "inbox").mkdir()
    (workplace / "inbox" / "a.md").write_text("a")
    (workplace / "inbox" / "b.md").write_text("b")
    assert "2 left for the next scan" in run("documents", "scan", RAG_DOCUMENTS_SETTLE_S="3600").out
    assert run("documents", "scan", **settled).out.strip() == "2 new"
    (workplace / "inbox" / "a.md").rename(workplace / "inbox" / "c.md")
    assert run("documents", "scan", "--json", **settled).json["renamed"] == 1
    for file in (workplace / "inbox").iterdir():
        file.unlink()
    refused = run("documents", "scan", **settled)
    assert refused.status == 1
    assert "is it mounted" in refused.err
    assert run("documents", "scan", "--force", **settled).out.strip() == "2 withdrawn"


def test_a_list_says_when_a_document_is_retried(run: Run, papers: Path, database: Database) -> None:
    run("documents", "add", "my papers/minutes.md")
    assert "retry in" not in run("documents", "list").out
    with database.connect() as connection:
        connection.execute("UPDATE documents SET not_before = now() + interval '2 hours 10 min'")
    assert "retry in 2 h" in run("documents", "list").out


def test_dead_letters_are_listed_and_retried_singly_by_class_and_all(
    run: Run, papers: Path, database: Database
) -> None:
    for name in ("a", "b", "c", "d"):
        (papers / f"{name}.md").write_text(name)
    keys = run("documents", "add", *(f"my papers/{name}.md" for name in "abcd"), "--json").json
    a, b, c, d = (keys["keys"][f"{name}.md"] for name in "abcd")
    assert run("documents", "dlq").out.strip() == "no dead letter"
    for key, error_class in ((a, "NoTextError"), (b, "NoTextError"), (c, "EncryptedDocumentError")):
        end(database, key, error_class)

    told = run("documents", "dlq").out
    assert "it is [bold]wrong[/bold]: mend it" in told
    letters = run("documents", "dlq", "--json").json
    assert letters["classes"] == {"EncryptedDocumentError": 1, "NoTextError": 2}
    assert {letter["key"] for letter in letters["documents"]} == {a, b, c}

    assert run("documents", "retry", a).out.strip() == "1 document put back into the queue"
    both = run("documents", "retry", b, d)
    assert (both.out.strip(), both.err.strip()) == (
        "1 document put back into the queue", f"{d} is not a dead letter: it is waiting",
    )  # fmt: skip
    end(database, a, "NoTextError")
    assert run("documents", "retry", "--class", "NoTextError", "--json").json == {"documents": 1}
    retried = run("documents", "retry", "--all").out.strip()
    assert retried == "1 document put back into the queue"
    assert run("documents", "dlq", "--json").json["documents"] == []


WRONG = {
    ("retry",): "name the documents: keys, --class CLASS, or --all",
    ("retry", "a.md", "--all"): "name the documents",
    ("retry", "--class", "NoTextError"): "no dead letter is NoTextError: there are none",
    ("retry", "b.md"): "there is no document b.md",
    ("show", "my"): "did you mean my-papers",
    ("withdraw", "a.md"): "there is no document a.md",
    ("prioritize",): "--oldest-first",
    ("list", "--state", "lost"): "there is no state lost: it is one of waiting, running",
    ("list", "--lane", "fast"): "there is no lane fast: it is one of rag_processing",
    ("prioritize", "--oldest-first", "--lane", "fast"): "there is no lane fast",
    ("add", "nowhere.md"): "there is no file or folder nowhere.md",
}


def test_what_cannot_be_done_is_said_in_a_sentence(run: Run, papers: Path) -> None:
    assert run("documents", "add", "my papers").status == 1
    for arguments, sentence in WRONG.items():
        done = run("documents", *arguments)
        assert done.status == 1, arguments
        assert sentence in done.err, (arguments, done.err)
        assert "Traceback" not in done.out + done.err
    beyond = run("documents", "list", RAG_DOCUMENTS_URL="nonsense://x")
    assert beyond.status == 0, beyond.err
    nowhere = run("documents", "scan", RAG_DOCUMENTS_URL="nonsense://x")
    assert (nowhere.status, "Protocol not known" in nowhere.err) == (1, True)


def test_a_person_withdraws_and_prioritizes(run: Run, papers: Path, database: Database) -> None:
    for name in ("a", "b", "c"):
        (papers / f"{name}.md").write_text(name)
    keys = run("documents", "add", *(f"my papers/{name}.md" for name in "abc"), "--json").json
    a, b, c = (keys["keys"][f"{name}.md"] for name in "abc")
    assert run("documents", "withdraw", a, b).out.strip() == "2 documents withdrawn"
    assert f"{a} was already withdrawn" in run("documents", "withdraw", a).err
    states = {row["key"]: row["state"] for row in run("documents", "list", "--json").json}
    assert states == {a: "withdrawn", b: "withdrawn", c: "waiting"}
    assert run("documents", "add", "my papers/a.md").status == 0
    first = run("documents", "prioritize", "--oldest-first", "--limit", "1")
    assert first.out.strip() == "1 document moved to the front"
    with database.connect() as connection:
        rows = dict(
            connection.execute(
                "SELECT document_key, priority FROM documents WHERE state = 'waiting'"
            )
        )
    assert rows == {c: 0, a: 1}


def test_a_lane_is_paused_and_resumed_by_a_person(run: Run, database: Database) -> None:
    assert run("documents", "pause", "rag_bible", "--reason", "new keys").out.strip() == (
        "rag_bible: paused"
    )
    with database.connect() as connection:
        (pause,) = paused_lanes(connection).values()
        assert not resume_lane(connection, "rag_bible", "recovery"), "it resumes its own only"
    assert pause.description == "by command: new keys"
    run("documents", "pause", "rag_bible")
    with database.connect() as connection:
        assert paused_lanes(connection)["rag_bible"].description == "by command"
    assert run("documents", "resume", "rag_bible", "--json").json == {
        "lane": "rag_bible",
        "paused": False,
    }
    again = run("documents", "resume", "rag_bible")
    assert "was not paused" in again.err
    wrong = run("documents", "pause", "rag_small")
    assert wrong.status == 1
    assert "rag_processing, rag_large_docs, rag_bible" in wrong.err


def test_show_says_what_is_not_in_a_document_s_text(
    run: Run, papers: Path, database: Database
) -> None:
    key = run("documents", "add", "my papers/minutes.md", "--json").json["keys"]["minutes.md"]
    assert run("documents", "show", key, "--json").json["report"] is None
    with database.connect() as connection:
        connection.execute(
            """
            UPDATE documents SET characters = 1234, chunks = 2, remarks =
                '[{"kind": "left_out", "what": "hidden sheet", "count": 1, "examples": ["[Pay]"]},
                  {"kind": "lost", "what": "chapter", "count": 2, "examples": []}]'
            """
        )
    shown = run("documents", "show", key).out
    assert "left out: hidden sheet (1): [Pay]" in shown
    assert "lost: chapter (2)" in shown
    heading, row = run("documents", "list").out.splitlines()[:2]
    assert row[: heading.index("losses") + len("losses")].split()[-1] == "2"
    report = run("documents", "show", key, "--json").json["report"]
    assert (report["passages"], report["characters"], report["replaced_characters"]) == (2, 1234, 0)
    assert [one["what"] for one in report["left_out"]] == ["hidden sheet"]
    assert [one["count"] for one in report["lost"]] == [2]
