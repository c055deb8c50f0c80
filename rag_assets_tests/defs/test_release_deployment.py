"""A daemon without an operator: dropped folders are released and searchable if they are correct."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import running_emulator
from rag_assets.postgres.database import Database
from rag_assets.postgres.migrations import migrate
from rag_assets.settings.model import Settings
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.deployment import Deployment, deployed, wait_for
from rag_assets_tests.searches import ask

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RUNS = """
query { runsOrError(limit: 100) { ... on Runs {
    results { jobName status tags { key value } assetSelection { path } } } } }
"""


@dataclass(frozen=True)
class Site:
    """A deployment that releases automatically."""

    dagster: Deployment
    database: Database
    settings: Settings
    bibles: Path

    def served(self) -> list[str]:
        """Versions of the active release."""
        rows = self.rows("SELECT versions FROM releases WHERE state = 'active'")
        return list(rows[0][0]) if rows else []

    def refusals(self) -> list[list[str]]:
        """The reasons of each refusal."""
        return [row[0] for row in self.rows("SELECT reasons FROM releases WHERE state = 'refused'")]

    def rows(self, query: str) -> list[tuple[list[str]]]:
        with self.database.connect() as connection:
            return connection.execute(query).fetchall()

    def automatic_runs(self) -> list[tuple[list[str], str]]:
        """Assets and status of each run that the automation started, the newest first."""
        found = []
        for run in self.dagster.ask(RUNS)["results"]:
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            if tags.get("dagster/sensor_name") == "release_automation":
                keys = sorted(key["path"][-1] for key in run["assetSelection"])
                found.append((keys, run["status"]))
        return found


@pytest.fixture
def site(template_database: Database, tmp_path: Path) -> Iterator[Site]:
    """A deployment over two small versions; a text with "poisoned" in it is never embedded."""
    folder = tmp_path / "dagster"  # the emulator has tmp_path itself for its DAGSTER_HOME
    bibles = folder / "bibles"
    for code in ("EN_ONE", "EN_TWO"):
        write_usfm_version(bibles, code, sentences(40, word=code))
    database = template_database.named("test_release_deployment")
    migrate(database)
    with running_emulator() as emulator:
        emulator.order(Fault(FaultKind.POISON, text="poisoned"))
        environment = {
            "RAG_HOME": str(folder / "rag"),
            "RAG_BIBLES_DIR": str(bibles),
            "RAG_BIBLE_SETTLE_S": "0",
            "RAG_DATABASE_URL": database.conninfo,
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_API_KEY": "sk-test-one",
            "RAG_EMBEDDING_SMALL_DIMENSIONS": "64",
            "RAG_EMBEDDING_LARGE_DIMENSIONS": "96",
            "RAG_SEARCH_EXACT_ROWS": "10",
            "RAG_GOLDEN_QUERIES": "none",
            "RAG_SLO_P95_MS": "60000",
        }
        settings = Settings(**{name.lower(): value for name, value in environment.items()})
        try:
            with deployed(folder, environment) as dagster:
                yield Site(dagster, database, settings, bibles)
        finally:
            with template_database.named("postgres").connect(autocommit=True) as connection:
                for name in (database.name, f"{database.name}_dagster"):
                    connection.execute(
                        sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                            sql.Identifier(name)
                        )
                    )


def test_dropped_versions_are_embedded_checked_released_and_found_and_a_bad_one_is_not(
    site: Site,
) -> None:
    both = ["EN_ONE", "EN_TWO"]
    wait_for("the release", lambda: site.served() == both, site.dagster, timeout_s=240)
    found = ask(
        site.database, site.settings, "The EN_TWO number 3 runs down to the sea before 10 days"
    )
    assert (found.hits[0].version, found.hits[0].usfm) == ("EN_TWO", "GEN 1:4")
    assert found.plan.kind == "codes"
    wait_for(
        "the end of its run",
        lambda: "STARTED" not in {status for _, status in site.automatic_runs()},
        site.dagster,
        timeout_s=60,
    )
    # Index and release are one run, and nothing was refused on the way to it.
    assert {tuple(keys) for keys, _ in site.automatic_runs()} == {
        ("release", "retrieval_quality", "verse_embeddings_index")
    }
    assert site.refusals() == []

    write_usfm_version(site.bibles, "EN_BAD", [*sentences(10, word="bad"), "a poisoned text"])
    wait_for("the refusal", site.refusals, site.dagster, timeout_s=240)
    (reasons,) = site.refusals()
    model = "openai/text-embedding-3"
    assert reasons == [
        f"EN_BAD: completeness: {role}: 1 of 11 verses have no vector in {model}-{role} {vectors}"
        " (GEN 1:11: no vector)"
        for role, vectors in (("small", "halfvec(64)"), ("large", "halfvec(96)"))
    ]
    assert site.served() == both
    found = ask(
        site.database, site.settings, "The bad number 3 runs down to the sea before 10 days"
    )
    assert {hit.version for hit in found.hits} <= set(both)
