"""``rag-assets incidents``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets.operations.sql import incidents
from rag_assets.postgres.database import Database, one


def test_incidents_are_listed_and_each_has_its_report(
    workplace: Path,
    environment: dict[str, str],
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)

    def run(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["incidents", *words], env=environment)
        return done.exit_code, done.output

    assert run("list") == (0, "no incident so far\n")
    with database.connect() as connection:
        (now,) = one(connection.execute("SELECT now()"))
        number = incidents.open_incident(
            connection, "worker-lost", "run-7", ["run-7 ended"], began_at=now, longest_queue=5
        )
        incidents.record_action(
            connection, "end_run", "rag_processing", "no sign of life", incident_id=number
        )
    status, told = run("list")
    assert status == 0
    assert "incident-0001" in told
    assert "worker-lost" in told
    (found,) = json.loads(run("list", "--json")[1])
    assert (found["state"], found["longest_queue"]) == ("open", 5)

    status, told = run("show", "incident-0001")
    assert status == 0
    assert "## Incident 1: worker-lost (run-7)" in told
    assert "- run-7 ended" in told
    assert "end run rag_processing: no sign of life" in told
    with database.connect() as connection:
        shown = incidents.find_incident(connection, 1)
    assert shown is not None
    assert shown.reported_run is None  # looking is not writing

    status, told = run("show", "incident-9")
    assert status == 1
    assert "no incident incident-9" in " ".join(told.split())

    status, told = run("close", "incident-0001")
    assert status == 1
    assert "is about the queue: the recovery closes it once work resumes" in " ".join(told.split())
