"""The known faults of a server's pgvector, and their messages."""

from __future__ import annotations

import pytest

from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import ServerVersions, server_versions
from rag_assets.postgres.pgvector_faults import FAULTS, NEWEST, judge_pgvector


def server(
    pgvector: str | None, library: str | None = None, *, postgres: int = 18
) -> ServerVersions:
    return ServerVersions(f"{postgres}.1", postgres, pgvector, pgvector is not None, library)


@pytest.mark.parametrize(
    ("version", "fixed_in"),
    [
        ("0.7.0", ["0.8.2", "0.8.3", "0.8.4", "0.8.7"]),
        ("0.8.1", ["0.8.2", "0.8.3", "0.8.4", "0.8.7"]),
        ("0.8.2", ["0.8.3", "0.8.4", "0.8.7"]),
        ("0.8.3", ["0.8.4", "0.8.7"]),
        ("0.8.5", ["0.8.7"]),
        ("0.8.6", ["0.8.7"]),
        ("0.8.7", []),
        ("0.8.10", []),
        ("0.9.0", []),
        ("1.0.0", []),
    ],
)
def test_a_version_has_the_faults_that_later_ones_fix(version: str, fixed_in: list[str]) -> None:
    verdict = judge_pgvector(server(version, version))
    assert verdict is not None
    assert [fault.fixed_in for fault in verdict.faults] == fixed_in
    assert bool(verdict.problem) == bool(fixed_in)
    assert bool(verdict.remedy(embedded=False)) == bool(fixed_in)


def test_a_fault_of_one_postgresql_version_does_not_affect_an_older_one() -> None:
    verdict = judge_pgvector(server("0.8.2", "0.8.2", postgres=17))
    assert verdict is not None
    assert "0.8.3" not in [fault.fixed_in for fault in verdict.faults]


def test_the_librarys_version_counts_rather_than_the_databases() -> None:
    """A new database image has a new library; the extension's SQL stays the same."""
    verdict = judge_pgvector(server("0.8.1", "0.8.7"))
    assert verdict is not None
    assert verdict.faults == ()
    assert "still uses the functions and types of 0.8.1" in verdict.problem
    assert "ALTER EXTENSION vector UPDATE" in verdict.remedy(embedded=False)


def test_a_server_without_pgvector_is_not_judged() -> None:
    assert judge_pgvector(server(None)) is None


def test_the_remedy_is_feasible() -> None:
    verdict = judge_pgvector(server("0.8.5", "0.8.5"))
    assert verdict is not None
    assert verdict.remedy(embedded=True).startswith("nothing to do: ")
    own = verdict.remedy(embedded=False)
    assert own.startswith(f"install pgvector {NEWEST} or newer on the server")


def test_each_fault_says_what_it_affects_here() -> None:
    assert all(fault.what and fault.affects for fault in FAULTS)
    ordered = [tuple(map(int, fault.fixed_in.split("."))) for fault in FAULTS]
    assert ordered == sorted(ordered), "NEWEST is the last one's"


def test_a_real_server_reports_its_library(database: Database) -> None:
    with database.connect() as connection:
        found = server_versions(connection)
    assert found.pgvector_library is not None
    assert judge_pgvector(found) is not None
