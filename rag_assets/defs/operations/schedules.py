"""Schedules: the weekend backfill, the nightly index and audit, the daily capacity record.

Times are taken from the settings when the definitions are loaded. What a tick starts depends on the
settings, on what is stored, and on the clock: Dagster catches up on the last missed tick, and by
then a window may have closed.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from rag_assets.defs.bible.assets import verse_embeddings
from rag_assets.defs.bible.jobs import bible_embeddings
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.dagster_private import PARTITION_TAG
from rag_assets.defs.documents.jobs import document_upkeep
from rag_assets.defs.failures import as_failures
from rag_assets.defs.index.assets import chunk_embeddings_index, verse_embeddings_index
from rag_assets.defs.operations.capacity import capacity_record
from rag_assets.defs.operations.corpus_audit import audit_job
from rag_assets.defs.resources import CorpusResource
from rag_assets.defs.under_way import (
    in_bible_lane,
    partitions_of,
    runs_under_way,
)
from rag_assets.errors import ConfigurationError
from rag_assets.index.indexed_tables import ASSETS, indexed_tables
from rag_assets.operations.backfill import (
    ESTIMATE_TAG,
    WINDOW_TAG,
    Candidate,
    WindowRun,
    choose_now,
    remaining_budget,
    runs_of,
    runs_url,
)
from rag_assets.operations.backfill_documents import requeue_documents
from rag_assets.operations.capacity import due_days
from rag_assets.operations.sql.backfill import record_tick, versions_due
from rag_assets.operations.sql.capacity import recorded_days, watched_since
from rag_assets.operations.sql.dagster_state import TaggedRun
from rag_assets.operations.windows import DailyTime, Window, backfill_windows, when
from rag_assets.settings.model import Settings, load_settings
from rag_assets.settings.names import unsaid_unknown_names
from rag_assets.vectors.prices import missing_prices
from rag_assets.vectors.sql.spaces import document_roles
from rag_assets.vectors.sql.tables import has_rows
from rag_assets.visible import count

BACKFILL_EVERY_MIN = 5
NIGHT = timedelta(hours=6)
"""How long after its time the nightly index may still be started."""
PUNCTUAL = timedelta(minutes=10)
"""How long the schedule may start it; after that only the sensor does."""
_INDEX_JOBS = {
    "corpus_index",
    "corpus_release",
    "bible_to_release",
    "documents_index",
    "documents_release",
    "nightly_index",
}
_CAPACITY_TRIES = 3

nightly_index_job = dg.define_asset_job(
    "nightly_index",
    selection=dg.AssetSelection.assets(verse_embeddings_index, chunk_embeddings_index),
    description="Decide on the indexes of both corpora, build what is needed, and check them.",
)


def build_schedules(settings: Settings | None = None) -> list[dg.ScheduleDefinition]:
    """Build the schedules at the times of the settings.

    :param settings: ``None`` for those in force; if these are invalid, the default times apply, and
        each tick reports the error.
    """
    settings = settings or _settings_in_force()

    def at(cron: str | Sequence[str]) -> dict[str, Any]:
        return {
            "cron_schedule": cron,
            "execution_timezone": settings.rag_timezone,
            "default_status": dg.DefaultScheduleStatus.RUNNING,
        }

    return [
        dg.schedule(
            name="weekend_backfill",
            job=bible_embeddings,
            **at(backfill_windows(settings).cron_lines(BACKFILL_EVERY_MIN)),
            description="In the windows that RAG_BACKFILL_DAYS, _START and _HOURS open, embeds the "
            "versions whose vectors are missing or stale, in RAG_BACKFILL_ORDER, "
            "RAG_BIBLE_RUNS at a time, within RAG_BACKFILL_BUDGET_USD per window; then documents "
            "of another model. What does not fit waits for the next window, in order. Stop it to "
            "embed by hand only.",
        )(_backfill),
        dg.schedule(
            name="nightly_index",
            job=nightly_index_job,
            **at(_nightly(settings).cron_line),
            description="Each night at RAG_INDEX_NIGHTLY_AT: decides on the indexes, builds what "
            "is needed beside what serves, and checks them, so that the evidence for a release "
            "stays fresh. If vectors are being embedded or an index is being built, the sensor "
            "nightly_index_late starts it afterwards, up to six hours later.",
        )(_index_tonight),
        dg.schedule(
            name="daily_capacity",
            job=capacity_record,
            **at(_daily(settings).cron_line),
            description="Each day at RAG_CAPACITY_AT: records the figures of the 24 hours before, "
            "plots them, and forecasts when the current limits will be exceeded; also for days of "
            "the last week that have no record yet.",
        )(_record_days),
        dg.schedule(
            name="nightly_audit",
            job=audit_job,
            **at(_at(settings, settings.rag_audit_at).cron_line),
            description="Each night at RAG_AUDIT_AT: compares sources, texts, vectors, codes, the "
            "release and Dagster's partitions, and reports differences; with RAG_AUDIT_REPAIR it "
            "also repairs them. Not while versions are being embedded.",
        )(_audit_tonight),
        dg.ScheduleDefinition(
            name="document_upkeep_daily",
            job=document_upkeep,
            **at("15 3 * * *"),
            description="Each night: deletes documents withdrawn RAG_DOCUMENTS_KEEP_DAYS ago, and "
            "operations data older than RAG_OPERATIONS_KEEP_DAYS.",
        ),
    ]


def _settings_in_force() -> Settings:
    for sentence in unsaid_unknown_names():
        logging.getLogger("rag_assets.schedules").warning("%s", sentence)
    try:
        return load_settings()
    except ConfigurationError as error:
        logging.getLogger("rag_assets.schedules").error("default times apply: %s", error)
        return Settings.model_construct()


def _at(settings: Settings, clock: str) -> DailyTime:
    return DailyTime(ZoneInfo(settings.rag_timezone), clock)


def _nightly(settings: Settings) -> DailyTime:
    return _at(settings, settings.rag_index_nightly_at)


def _daily(settings: Settings) -> DailyTime:
    return _at(settings, settings.rag_capacity_at)


def _audit_tonight(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Start the audit, unless versions are half embedded now."""
    if in_bible_lane(runs_under_way(context.instance)):
        return dg.SkipReason("versions are being embedded: `rag-assets audit` afterwards")
    return dg.RunRequest()


def _backfill(
    context: dg.ScheduleEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Start the next versions that fit into an open window."""
    now, settings = corpus.clock(), corpus.settings
    windows = backfill_windows(settings)
    window = windows.open_at(now)
    if window is None:
        return dg.SkipReason(f"opens {when(windows.next_after(now).opens, now, windows.zone)}")
    under_way = runs_under_way(context.instance)
    runs = _runs_of(context.instance, window)
    requeued = waiting = 0
    with as_failures(), corpus.database.connect(autocommit=True) as connection:
        choice = choose_now(
            connection,
            settings,
            window,
            now=now,
            runs=runs,
            busy=partitions_of(under_way),
            at_work=in_bible_lane(under_way),
            warn=context.log.debug,
        )
        record_tick(connection, window.opens, now, due=choice.due)
        if not choice.start and not choice.held:
            left = remaining_budget(connection, settings, window, runs, now)
            requeued, waiting = requeue_documents(connection, settings, window, left.usd)
    for one in choice.start:
        context.log.info(f"{one.code}: {one.why}")
    context.log.info(f"all runs of this window: {runs_url(settings.rag_public_url, window.key)}")
    notes = [*choice.passed_over, *filter(None, [choice.held])]
    if requeued:
        notes.append(f"requeued {count(requeued, 'document')} of another model")
    if waiting:
        unknown = " and ".join(missing_prices(settings, document_roles(settings)))
        why = f"a price: set {unknown}" if unknown else "budget"
        notes.append(f"at least {count(waiting, 'document')} of another model waiting for {why}")
    for line in notes:
        context.log.info(line)
    known = context.instance.get_dynamic_partitions(BIBLE_VERSIONS)
    new = [one.code for one in choice.start if one.code not in known]
    if new:  # not added by the sensor yet
        context.instance.add_dynamic_partitions(BIBLE_VERSIONS, new)
    closes = when(window.closes, now, windows.zone)
    return [_request(one, window, settings.rag_bibles_dir) for one in choice.start] or (
        dg.SkipReason(f"{'; '.join(notes) or 'every version is embedded'} (closes {closes})")
    )


def _request(one: Candidate, window: Window, bibles_dir: Path) -> dg.RunRequest:
    # A version whose folder is gone keeps its data: it is embedded without being re-read.
    whole = (bibles_dir / one.code).is_dir()
    return dg.RunRequest(
        run_key=f"{window.key} {one.code}",
        partition_key=one.code,
        run_config={"ops": {verse_embeddings.op.name: {"config": {"requests": one.requests}}}},
        asset_selection=None if whole else [verse_embeddings.key],
        tags={
            WINDOW_TAG: window.key,
            ESTIMATE_TAG: f"{one.cost_usd:.6f}",
            "bible/version": one.code,
        },
    )


def _runs_of(instance: dg.DagsterInstance, window: Window) -> Sequence[WindowRun]:
    """Return the runs that the window has started."""
    found = instance.get_runs(
        dg.RunsFilter(job_name=bible_embeddings.name, tags={WINDOW_TAG: window.key})
    )
    return runs_of(TaggedRun(run.run_id, run.status.value, dict(run.tags)) for run in found)


def _index_tonight(
    context: dg.ScheduleEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.RunRequest | dg.SkipReason:
    """Start the nightly index on time."""
    return _night(context.instance, corpus, late=False)


@dg.sensor(
    job=nightly_index_job,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the nightly index up to six hours late, if it could not start on time: "
    "vectors were being embedded, an index was being built, or Dagster was not running.",
)
def nightly_index_late(
    context: dg.SensorEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> dg.RunRequest | dg.SkipReason:
    """Start the nightly index late if it could not be started on time."""
    return _night(context.instance, corpus, late=True)


def _night(
    instance: dg.DagsterInstance, corpus: CorpusResource, *, late: bool
) -> dg.RunRequest | dg.SkipReason:
    """Request the nightly index if it is due, not done yet, and nothing blocks it."""
    now, settings = corpus.clock(), corpus.settings
    night = _nightly(settings)
    due = night.last(now)
    coming = f"next {when(night.next_after(now), now, night.zone)}"
    if now - due >= NIGHT:
        return dg.SkipReason(coming)
    if late != (now - due >= PUNCTUAL):
        return dg.SkipReason(f"nightly_index{'' if late else '_late'} starts it")
    tags = {WINDOW_TAG: due.isoformat(timespec="minutes")}
    if instance.get_runs_count(dg.RunsFilter(job_name=nightly_index_job.name, tags=tags)):
        return dg.SkipReason(f"done for this night; {coming}")
    under_way = runs_under_way(instance)
    if in_bible_lane(under_way) or any(map(_works_on_an_index, under_way)):
        return dg.SkipReason("waiting: vectors are being embedded or an index is being built")
    try:
        with corpus.database.connect() as connection:
            window = backfill_windows(settings).open_at(now)
            if window is not None and versions_due(connection, window.opens, now):
                return dg.SkipReason("waiting: the backfill has versions due in its window")
            tables = indexed_tables(connection, settings)
            corpora = {table.corpus for table in tables if has_rows(connection, table)}
    except ConfigurationError as error:  # nothing was ever embedded
        return dg.SkipReason(f"{error}; {coming}")
    if not corpora:
        return dg.SkipReason(f"there is no vector; {coming}")
    return dg.RunRequest(
        run_key=tags[WINDOW_TAG],
        asset_selection=[dg.AssetKey(ASSETS[one].index) for one in sorted(corpora)],
        tags=tags,
    )


def _works_on_an_index(run: dg.DagsterRun) -> bool:
    indexes = {verse_embeddings_index.key, chunk_embeddings_index.key}
    return run.job_name in _INDEX_JOBS or bool(indexes & (run.asset_selection or frozenset()))


def _record_days(
    context: dg.ScheduleEvaluationContext, corpus: dg.ResourceParam[CorpusResource]
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request records for days that have ended without one."""
    now, daily = corpus.clock(), _daily(corpus.settings)
    with as_failures(), corpus.database.connect() as connection:
        due = due_days(
            now, daily, recorded=recorded_days(connection), since=watched_since(connection)
        )
    started = [
        run.tags[PARTITION_TAG]
        for run in context.instance.get_runs(dg.RunsFilter(job_name=capacity_record.name), limit=50)
        if PARTITION_TAG in run.tags and WINDOW_TAG in run.tags
    ]
    busy = partitions_of(runs_under_way(context.instance))
    keys = [
        key
        for key in (day.isoformat() for day in due)
        if key not in busy and started.count(key) < _CAPACITY_TRIES
    ]
    return [
        dg.RunRequest(run_key=key, partition_key=key, tags={WINDOW_TAG: key}) for key in keys
    ] or dg.SkipReason(f"next {when(daily.next_after(now), now, daily.zone)}")
