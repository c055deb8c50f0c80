"""``rag-assets doctor`` as people run it: well, ill, and with its database away."""

from __future__ import annotations

import re
from pathlib import Path

from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.documents.queued import queue


def test_the_command_says_what_is_wrong_and_ends_accordingly(run: Run, database: Database) -> None:
    well = run("doctor")
    assert well.status == 0, well.out
    assert "PostgreSQL 1" in well.out
    queue(database, "waiting")
    with database.connect() as connection:
        connection.execute("UPDATE documents SET queued_at = now() - interval '100 s'")
    ill = run("doctor", "--json")
    assert ill.status == 1
    assert ill.json["ok"] is False
    assert {found["area"] for found in ill.json["findings"]} >= {"rag_processing", "dagster"}
    assert set(ill.json["findings"][0]) == {"rule", "area", "level", "told", "command"}
    assert all(probe["told"] for probe in ill.json["probes"])
    assert ill.json["lanes"][0]["waiting"] == 1


def test_a_misspelled_setting_and_a_key_that_is_not_used_are_shown(
    run: Run, workplace: Path
) -> None:
    (workplace / ".env").write_text("RAG_EVIDENCE_MAX_AGE=1\nRAG_BIBLES=/srv/bibles\n")
    done = run("doctor", RAG_EMBEDING_PROVIDER="local", OPENAI_API_KEY="sk-1")
    found = re.findall(r"warning +settings: (.+)\n", done.out)
    assert [words.split(" is no setting")[0] for words in found] == [
        "RAG_EMBEDING_PROVIDER in the environment", "RAG_EVIDENCE_MAX_AGE in .env",
    ]  # fmt: skip
    assert "did you mean RAG_EVIDENCE_MAX_AGE_H?" in found[1]
    assert "no setting" not in done.err
    assert "none needed: the provider is offline; OPENAI_API_KEY is not used" in done.out
    assert "OPENAI_API_KEY" not in run("doctor").out


def test_the_command_works_while_the_database_is_away(run: Run) -> None:
    done = run("doctor", RAG_DATABASE_URL="postgresql://rag:hunter2@127.0.0.1:9/corpus")
    assert done.status == 1
    assert re.search(r"^problem  database: .*cannot be reached", done.out, re.MULTILINE)
    assert done.out.count("problem ") == 1
    assert "disk        ok" in done.out
    assert "hunter2" not in done.out + done.err


def test_the_command_finds_migrations_that_wait_and_applies_none(
    run: Run, database: Database
) -> None:
    with database.connect() as connection:
        connection.execute("DELETE FROM schema_migrations WHERE name LIKE '0006%'")
    done = run("doctor")
    assert done.status == 1
    assert "rag-assets db migrate" in done.out
    with database.connect() as connection:
        assert not connection.execute(
            "SELECT FROM schema_migrations WHERE name LIKE '0006%'"
        ).fetchall()
