"""What assets, checks and sensors are given: the resource ``corpus``, as a plain object.

Settings are read and the database is opened when a run starts, never when definitions load.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from rag_assets.errors import DatabaseUnavailableError
from rag_assets.postgres.database import Database, open_database
from rag_assets.postgres.migrations import open_migrated
from rag_assets.postgres.run_sessions import named_for_run
from rag_assets.progress import Progress
from rag_assets.settings.model import Settings, load_settings


@dataclass(frozen=True)
class CorpusResource:
    """The settings in force and the migrated database.

    :param progress: who is told how far long work is; ``None`` for the run's own log.
    :param clock: the time, in UTC.
    """

    settings: Settings
    database: Database
    progress: Progress | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def open_corpus(
    settings: Settings | None = None, *, progress: Progress | None = None
) -> CorpusResource:
    """Read the settings, open the database and bring it up to date."""
    settings = settings or load_settings()
    return CorpusResource(settings, open_migrated(settings), progress)


@dg.resource(description="The corpus that the settings name (see docs/settings.md).")
def corpus_resource(context: dg.InitResourceContext) -> CorpusResource:
    """Called by Dagster once a run. It has no configuration: the environment is the one source.

    The run's sessions bear its id, by which others see that it lives.
    """
    corpus = open_corpus()
    if context.run is None:
        return corpus
    return replace(corpus, database=named_for_run(corpus.database, context.run.run_id))


@dg.resource(
    description="The same corpus for monitoring: it can be opened while its database is down."
)
def watched_corpus_resource(_: dg.InitResourceContext) -> CorpusResource:
    """What is away is not brought up to date; whoever uses it is told by its own errors."""
    try:
        return open_corpus()
    except DatabaseUnavailableError:
        settings = load_settings()
        return CorpusResource(settings, open_database(settings))
