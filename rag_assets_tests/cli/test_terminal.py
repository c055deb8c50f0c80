"""Names and texts by others in what the commands print; files that hold secrets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.markdown import Markdown
from rich.table import Table

from rag_assets.cli.demo import Chosen, _use
from rag_assets.cli.opening import open_private
from rag_assets.cli.output import Terminal, plain
from rag_assets.postgres.database import Database
from rag_assets.settings.model import load_settings
from rag_assets_tests.cli.conftest import Done, Run

EVIL = "evil\x1b[2J\x1b]0;owned\x07\nerror: forged\r\x9b31m [/red] \u202e"
SHOWN = r"evil\x1b[2J\x1b]0;owned\x07\nerror: forged\r\x9b31m [/red] \u202e"


def harmless(done: Done) -> bool:
    """Whether all that it printed acts on no terminal, and no line of it is forged."""
    lines = (done.out + done.err).split("\n")
    return all(line.isprintable() and not line.startswith("error: forged") for line in lines)


def test_a_name_acts_in_no_table_and_json_keeps_it(run: Run) -> None:
    assert run("keys", "create", EVIL).status == 0
    listed = run("keys", "list")
    assert SHOWN in listed.out
    assert harmless(listed)
    as_json = run("keys", "list", "--json")
    assert as_json.json[0]["name"] == EVIL
    assert harmless(as_json)


def test_a_document_s_key_and_error_act_nowhere(
    run: Run, workplace: Path, database: Database
) -> None:
    (workplace / "a.md").write_text("# A\nall of it")
    assert run("documents", "add", "a.md").status == 0
    with database.connect() as connection:
        connection.execute(
            "UPDATE documents SET document_key = %s, state = 'dead', attempts = 1, error = %s,"
            " ended_at = now(), error_class = 'CorruptDocumentError'",
            (EVIL, EVIL),
        )
    for command in ("list", "dlq"):
        shown = run("documents", command)
        assert shown.status == 0, shown.err
        assert SHOWN in shown.out
        assert harmless(shown)
    one = run("documents", "show", EVIL)
    assert one.out.count(SHOWN) == 2, one.out + one.err
    assert harmless(one)
    assert harmless(run("doctor"))


def test_an_error_that_repeats_a_name_is_one_line(run: Run) -> None:
    done = run("documents", "show", EVIL)
    assert done.status == 1
    shown = SHOWN.replace(r"\n", " ").replace(r"\r", " ")
    assert done.err.startswith(f"error: there is no document {shown}")
    assert harmless(done)


def test_whatever_is_printed_only_our_own_styles_act() -> None:
    written = io.StringIO()
    terminal = Terminal(file=written, force_terminal=True, color_system="standard", width=200)
    table = Table(EVIL.replace("[/red]", ""))
    table.add_row(plain(EVIL))
    terminal.print(EVIL, markup=False)
    terminal.print(f"[bold red]{plain(EVIL)}[/bold red]")
    terminal.print(table)
    terminal.print(Markdown(f"# {EVIL}\n\n- {EVIL}"))
    terminal.print("one", "two", sep="\n")
    shown = written.getvalue()
    assert "\x1b[1;31m" in shown  # ours
    for theirs in ("\x1b[2J", "\x1b]", "\x07", "\r", "\x9b", "\u202e"):
        assert theirs not in shown
    assert shown.endswith("one\ntwo\n")


def test_the_demo_s_settings_are_for_their_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEYS", "RAG_EMBEDDING_PROVIDER"):
        monkeypatch.delenv(name, raising=False)
    used = _use(Chosen("offline", "for a test"), load_settings(), as_json=True)
    assert used.rag_embedding_provider == "offline"
    assert "RAG_EMBEDDING_PROVIDER=offline" in Path(".env").read_text("utf-8")
    assert Path(".env").stat().st_mode & 0o777 == 0o600


def test_a_private_file_is_private_also_where_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "up.log"
    path.write_text("yesterday's, for all to read")
    path.chmod(0o666)
    with open_private(path) as file:
        file.write(b"today's")
    assert (path.read_text("utf-8"), path.stat().st_mode & 0o777) == ("today's", 0o600)
