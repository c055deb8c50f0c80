"""The resource ``corpus`` of assets, checks and sensors.

Settings are read and the database is opened when a run starts, never when definitions are loaded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from rag_assets import tracing
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import open_migrated
from rag_assets.postgres.run_sessions import named_for_run
from rag_assets.progress import LogLines, Progress, never_silent
from rag_assets.settings.model import Settings, load_settings


@dataclass(frozen=True)
class CorpusResource:
    """The settings in force and the migrated database.

    :param progress: receives the progress of long work; ``None`` for the run's own log.
    :param clock: the time, in UTC.
    """

    settings: Settings
    database: Database
    progress: Progress | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @contextmanager
    def reporting(self, log: Callable[[str], None]) -> Iterator[Progress]:
        """Progress of one step, which is never silent for long, to a run's log by default."""
        with never_silent(self.progress or LogLines(log)) as progress:
            yield progress


def open_corpus(
    settings: Settings | None = None, *, progress: Progress | None = None
) -> CorpusResource:
    """Read the settings, open the database and migrate it."""
    settings = settings or load_settings()
    tracing.set_up(settings, "rag_assets-runs")
    return CorpusResource(settings, open_migrated(settings), progress)


@dg.resource(description="The corpus that the settings name (see docs/settings.md).")
def corpus_resource(context: dg.InitResourceContext) -> CorpusResource:
    """Called by Dagster once per run. All configuration comes from the environment.

    The run's database sessions carry its id, which shows others that it is alive.
    """
    corpus = open_corpus()
    if context.run is None:
        return corpus
    return replace(corpus, database=named_for_run(corpus.database, context.run.run_id))


@dg.resource(description="The corpus for monitoring, available even while its database is down.")
def watched_corpus_resource(_: dg.InitResourceContext) -> CorpusResource:
    """Open the corpus without migrating it if its database is down; using it then raises errors."""
    try:
        return open_corpus()
    except DatabaseUnavailableError:
        settings = load_settings()
        return CorpusResource(settings, open_database(settings))
