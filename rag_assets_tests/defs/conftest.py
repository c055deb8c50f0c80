"""The Bible lane in this process: the definitions on the test's corpus, with a fresh instance."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from psycopg import sql

from rag_assets.definitions import build_defs
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.index import backfill_window
from rag_assets.defs.resources import CorpusResource
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import write_usfm_version


@pytest.fixture(autouse=True)
def _no_backfill_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """On weekends the automation would look for the database of the environment."""
    monkeypatch.setattr(backfill_window, "due_now", lambda: False)


@dataclass(frozen=True)
class Lane:
    """The deployed definitions on one corpus, and Dagster's state for them."""

    corpus: CorpusResource
    instance: dg.DagsterInstance

    @property
    def bibles_dir(self) -> Path:
        return self.corpus.settings.rag_bibles_dir

    def defs(self) -> dg.Definitions:
        """As deployed, on this corpus."""
        return build_defs(resources={"corpus": self.corpus})

    def drop(self, code: str, texts: Sequence[str], *, ai_allowed: bool = True) -> Path:
        """Create a version's folder, and add its partition."""
        self.instance.add_dynamic_partitions(BIBLE_VERSIONS, [code])
        return write_usfm_version(self.bibles_dir, code, texts, ai_allowed=ai_allowed)

    def run(
        self,
        code: str,
        *,
        job: str = "bible_embeddings",
        config: Mapping[str, Any] | None = None,
        only: Sequence[str] | None = None,
        tags: Mapping[str, str] | None = None,
        raise_on_error: bool = False,
    ) -> Run:
        """Run a job for one version.

        :param config: launchpad entries of ``verse_embeddings``.
        :param only: assets to take from the job, with their checks.
        """
        result = (
            self.defs()
            .resolve_job_def(job)
            .execute_in_process(
                partition_key=code,
                instance=self.instance,
                tags=dict(tags or {}),
                run_config={"ops": {"verse_embeddings": {"config": dict(config)}}}
                if config
                else None,
                asset_selection=[dg.AssetKey(name) for name in only] if only else None,
                raise_on_error=raise_on_error,
            )
        )
        return Run(result)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of the corpus database."""
        with self.corpus.database.connect() as connection:
            return connection.execute(query, values).fetchall()

    def count(self, query: str, *values: object) -> int:
        """The first number of the first row."""
        return int(self.rows(query, *values)[0][0])


@dataclass(frozen=True)
class Run:
    """The result of a run."""

    result: dg.ExecuteInProcessResult

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def run_id(self) -> str:
        return self.result.run_id

    def metadata(self, asset: str) -> dict[str, Any]:
        """Plain values of the asset's one materialization."""
        (event,) = self.result.asset_materializations_for_node(asset)
        return {label: value.value for label, value in event.metadata.items()}

    def materialized(self) -> list[str]:
        """Assets that were materialized, in order."""
        return [
            event.step_materialization_data.materialization.asset_key.to_user_string()
            for event in self.result.get_asset_materialization_events()
        ]

    def failure(self, step: str) -> Failed:
        """The step's failure, which must be a ``dg.Failure``."""
        data = self.result.failure_data_for_node(step)
        assert data is not None, f"{step} did not fail"
        assert data.user_failure_data is not None, f"{step} failed by itself: {data.error}"
        return Failed(
            data.user_failure_data.description or "",
            {label: entry.value for label, entry in data.user_failure_data.metadata.items()},
        )

    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        """The evaluations of this run, by the check's name."""
        return {found.check_name: found for found in self.result.get_asset_check_evaluations()}

    def failed_checks(self) -> list[str]:
        """Names of the checks that did not pass, sorted."""
        return sorted(name for name, found in self.checks().items() if not found.passed)


@dataclass(frozen=True)
class Failed:
    """A failure as the UI shows it."""

    description: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


ROOT = Path(__file__).parents[2]
MakeLane = Callable[..., Lane]


@pytest.fixture(scope="session")
def _instance_in_memory() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def instance(_instance_in_memory: dg.DagsterInstance) -> dg.DagsterInstance:
    """An empty in-memory instance. Creating one takes longer than most tests."""
    _instance_in_memory.wipe()
    return _instance_in_memory


@pytest.fixture
def lane(openai_settings: MakeSettings, database: Database, instance: dg.DagsterInstance) -> Lane:
    """The lane with the emulator as its provider."""
    return Lane(CorpusResource(openai_settings(), database), instance)


@pytest.fixture
def make_lane(
    openai_settings: MakeSettings, database: Database, instance: dg.DagsterInstance
) -> MakeLane:
    """Create a lane with other settings."""

    def make(**overrides: object) -> Lane:
        settings: Settings = openai_settings(**overrides)
        return Lane(CorpusResource(settings, database), instance)

    return make


@pytest.fixture
def beside(database: Database) -> Iterator[Database]:
    """Where Dagster's state should go; dropped afterwards."""
    expected = database.named(f"{database.name}_dagster")
    yield expected
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(expected.name))
        )


@pytest.fixture
def instance_beside(
    database: Database, beside: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dg.DagsterInstance]:
    """Dagster as it is deployed: its state beside the corpus."""
    monkeypatch.setenv("RAG_DATABASE_URL", database.conninfo)
    monkeypatch.chdir(tmp_path)  # dagster.yaml's folders are relative
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance
