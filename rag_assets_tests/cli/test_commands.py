"""The commands, their JSON, and their sentences for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.conftest import SAMPLES

pytestmark = pytest.mark.long


def test_embedding_then_searching_finds_the_verse(run: Run, database: Database) -> None:
    embedded = run("bible", "embed", "EN_SAMPLE", "--json")
    assert embedded.status == 0, embedded.err
    (report,) = embedded.json
    assert (report["verses"], report["embedded"], report["checks_passed"]) == (251, 502, 4)

    waits = run("search", "your people shall be mine, and your God mine")
    assert waits.status == 1
    assert "nothing is released yet" in waits.err
    built = run("index", "build", "--json")
    assert built.status == 0, built.out
    released = run("release", "activate", "--json")
    assert released.status == 0, released.out
    found = run("search", "your people shall be mine, and your God mine", "--json").json
    assert found["release_id"] == released.json["active"]["release_id"]
    assert found["hits"][0]["usfm"] == "RUT 1:16"
    assert found["hits"][0]["reference"] == "Ruth 1:16"
    assert len(found["hits"]) == 10
    unread = run("search", "light", "--version", "PT_SAMPLE", "--json").json["message"]
    assert "PT_SAMPLE has a folder but is not loaded: run `rag-assets bible embed PT_S" in unread

    (listed,) = [row for row in run("bible", "list", "--json").json if row["small"]]
    assert (listed["version"], listed["small"], listed["large"]) == ("EN_SAMPLE", 251, 251)
    with database.connect() as connection:
        row = connection.execute(
            "SELECT count(*), min(dim_small), min(dim_large) FROM verse_embeddings"
        ).fetchone()
    assert row == (251, 1536, 3072)


def test_the_database_says_what_it_is(run: Run) -> None:
    status = run("db", "status", "--json").json
    assert status["postgresql"].startswith("18")
    assert status["pgvector"] == "0.8.5"
    assert [fault["fixed_in"] for fault in status["pgvector_faults"]] == ["0.8.7"]
    told = run("db", "status").out
    assert "pgvector 0.8.5 has known faults: a buffer overflow in IVFFlat index builds" in told
    assert "\ninstall pgvector 0.8.7 or newer on the server" in told
    assert status["migrations_waiting"] == []
    assert run("db", "migrate").out.strip() == "nothing to apply: up to date"


def test_psql_gets_its_address_by_environment(run: Run) -> None:
    done = run("db", "psql", "--", "-At", "-c", "SELECT current_database()")
    assert done.out.startswith("test_")
    assert "PGPASSWORD" not in run("db", "psql", "--json").json


def test_a_plan_counts_versions_that_are_not_loaded_and_writes_nothing(
    run: Run, database: Database
) -> None:
    plans = run("bible", "plan", "--json", RAG_EMBEDDING_PROVIDER="openai").json
    assert {(plan["version_code"], plan["role"], plan["rows"]) for plan in plans} == {
        (code, role, 251) for code in ("EN_SAMPLE", "PT_SAMPLE") for role in ("small", "large")
    }
    assert all(plan["cost_usd"] > 0 for plan in plans)
    server = {"RAG_EMBEDDING_PROVIDER": "openai", "OPENAI_BASE_URL": "http://localhost:11434/v1"}
    bge = {f"RAG_EMBEDDING_{role}_MODEL": "bge-m3" for role in ("SMALL", "LARGE")}
    assert "tokens, which cost nothing" in run("bible", "plan", **server, **bge).out
    assert re.search(r"tokens, \$0\.00\d\d", run("bible", "plan", **server).out)
    with database.connect() as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM verses), (SELECT count(*) FROM embedding_spaces)"
        ).fetchone()
    assert row == (0, 0)


def test_a_version_is_added_whole_or_not_at_all(run: Run, workplace: Path) -> None:
    source = workplace / "source.usfm"
    source.write_text("\\id RUT\n\\c 1\n\\p\n\\v 1 In the days of the judges\n", encoding="utf-8")
    added = run("bible", "add", "EN_NEW", str(source), "--ai-allowed", "--json").json
    assert added["verses"] == 1
    declared = (workplace / "bibles/EN_NEW/version.toml").read_text(encoding="utf-8")
    assert "ai_allowed = true" in declared

    source.write_text("not scripture", encoding="utf-8")
    refused = run("bible", "add", "EN_BAD", str(source))
    assert refused.status == 1
    assert "not a known format" in refused.err
    assert "a CSV with the header Book,Chapter,Verse,Text" in refused.err
    assert sorted(path.name for path in (workplace / "bibles").iterdir()) == [
        "EN_NEW",
        "EN_SAMPLE",
        "PT_SAMPLE",
    ]


def test_removing_deletes_the_data_and_leaves_the_files(run: Run, workplace: Path) -> None:
    assert run("bible", "embed", "EN_SAMPLE", "--small-only").status == 0
    removed = run("bible", "remove", "EN_SAMPLE", "--yes", "--json").json
    assert removed == {
        "version": "EN_SAMPLE",
        "verses_removed": 251,
        "partition_removed": False,
    }
    (row,) = [row for row in run("bible", "list", "--json").json if row["version"] == "EN_SAMPLE"]
    assert (row["verses"], row["small"], row["folder"]) == (None, 0, "there")
    assert (workplace / "bibles/EN_SAMPLE/version.toml").is_file()


@pytest.mark.parametrize(
    ("arguments", "extra", "sentence"),
    [
        (("bible", "add", "naa", "x"), {}, "is not a version code"),
        (("bible", "add", "EN_X", "nowhere"), {}, "there is no file or folder nowhere"),
        (("bible", "add", "EN_SAMPLE", "bibles"), {}, "already exists"),
        (("bible", "embed", "EN_NONE"), {}, "no folder for version EN_NONE"),
        (("bible", "remove", "EN_NONE"), {}, "is not in the database"),  # before it asks
        (("search", " "), {}, "the query is empty"),
        (("search", "light"), {}, "nothing is released yet"),
        (("db", "status"), {"RAG_DATABASE_URL": "nonsense"}, "is not an address of PostgreSQL"),
        (
            ("db", "status"),
            {"RAG_DATABASE_URL": "postgresql://me:hidden@127.0.0.1:1/corpus"},
            "PostgreSQL cannot be reached (corpus on 127.0.0.1:1 as me)",
        ),
        (("db", "status"), {"RAG_EMBEDDING_BATCH_SIZE": "many"}, "RAG_EMBEDDING_BATCH_SIZE"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    run: Run, arguments: tuple[str, ...], extra: dict[str, str], sentence: str
) -> None:
    done = run(*arguments, **extra)
    assert done.status == 1
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert "hidden" not in done.err + done.out


def test_embedding_without_a_key_says_so_and_stores_no_vector(run: Run) -> None:
    done = run("bible", "embed", "EN_SAMPLE", RAG_EMBEDDING_PROVIDER="openai")
    assert done.status == 1
    assert "no OPENAI_API_KEY" in done.out
    assert "RAG_EMBEDDING_PROVIDER=offline" in done.out


def test_the_samples_are_what_the_demo_uses() -> None:
    assert sorted(path.name for path in SAMPLES.iterdir()) == ["EN_SAMPLE", "PT_SAMPLE"]


def test_a_plan_sees_changed_files_and_leaves_out_what_it_cannot_read(
    run: Run, workplace: Path
) -> None:
    assert run("bible", "embed", "EN_SAMPLE", "--small-only").status == 0
    book = workplace / "bibles/EN_SAMPLE/32-JON.usfm"
    book.write_text(book.read_text("utf-8").replace("Nineveh", "that great Nineveh"), "utf-8")
    (workplace / "bibles/EN_BAD").mkdir()
    (workplace / "bibles/EN_BAD/1.usfm").write_bytes(b"\\id GEN\n\\c 1\n\\p\n\\v 1 \xff\n")
    (workplace / "bibles/EN_BAD/version.toml").write_text("ai_allowed = true\n", "utf-8")
    done = run("bible", "plan", "--json")
    plans = {(plan["version_code"], plan["role"]): plan for plan in done.json}
    assert 0 < plans["EN_SAMPLE", "small"]["texts"] < 48
    assert "EN_BAD is left out:" in done.err
    assert "not valid UTF-8" in done.err

    limited = run(
        "bible", "embed", "PT_SAMPLE", "--dry-run", "--limit", "5", "--small-only", "--json"
    )
    assert [(plan["role"], plan["rows"]) for plan in limited.json] == [("small", 5)]
