"""Output at 80 columns: lines wrap between words, tables lose nothing; in a pipe nothing wraps."""

from __future__ import annotations

import pytest

from rag_assets.cli import output
from rag_assets.cli.output import Terminal, show_record, show_table
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.documents.queued import queue
from rag_assets_tests.operations.filled import fill

KEY = "contracts/2026/a-contract-with-a-name-that-is-long.pdf"
NARROW = {"COLUMNS": "80", "RAG_GOLDEN_QUERIES": "none"}


@pytest.fixture(params=[80, 44, 30])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setattr(output, "out", Terminal())
    return int(request.param)


ROWS = [
    {"version": "EN_SAMPLE", "full_name": "A paraphrase for tests", "verses": 251, "done": None},
    {"version": "PT_SAMPLE", "full_name": "Uma paráfrase", "verses": 1_251, "done": "yes"},
]


def test_a_table_wraps_texts_or_becomes_paragraphs_and_loses_nothing(
    width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    show_table(ROWS, empty="")
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    cells = "EN_SAMPLE A paraphrase for tests 251 PT_SAMPLE Uma paráfrase 1,251 yes"
    assert set(cells.split()) <= set(shown.replace(";", " ").split())
    assert shown.startswith("EN_SAMPLE\n  full name A") == (width == 30)


def test_a_record_wraps_beside_its_names(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    show_record({"reasons": "rows are few: a scan of the codes serves, and it is fast enough"})
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("reasons  rows are few")
    assert all(line.startswith(" " * 9) and len(line) <= width for line in others)


@pytest.mark.long
def test_every_table_of_a_corpus_fits_80_columns(
    run: Run, database: Database, environment: dict[str, str]
) -> None:
    settings = Settings(rag_database_url=environment["RAG_DATABASE_URL"],
                        rag_embedding_provider="offline")  # fmt: skip
    fill(database, settings)
    queue(database, KEY)
    assert run("keys", "create", "an-application-with-a-long-name").status == 0
    for command in (
        "bible list", "bible plan", "db status", "documents list", "documents dlq",
        "documents show dead", "index status", "release status", "release diff 1 1",
        "doctor", "capacity", "keys list", "incidents list", "backfill plan",
        "search mercy --full",
    ):  # fmt: skip
        done = run(*command.split(), **NARROW)
        assert done.out, f"{command}: {done.err}"
        wide = [line for line in done.out.splitlines() if len(line) > 80]
        assert wide == [], f"rag-assets {command}"
        assert "…" not in done.out, f"rag-assets {command} is cut: {done.out}"
    assert KEY in run("documents", "list", **NARROW).out
    in_pipe = run("documents", "list").out
    assert any(KEY in line and "rag_processing" in line for line in in_pipe.splitlines())
