"""Real ticks of the schedules, on a real instance and database, applied as by the daemon."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from pydantic import SecretStr

from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.definitions import defs
from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.index.backfill_window import window_has_versions_due
from rag_assets.defs.operations.schedules import (
    ESTIMATE_TAG,
    WINDOW_TAG,
    build_schedules,
    nightly_index_late,
)
from rag_assets.defs.resources import CorpusResource
from rag_assets.documents.sql.lanes import pause_lane
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import register_space
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.defs.conftest import Lane, Run

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
FRIDAY, SATURDAY, SUNDAY = ((2026, 11, day) for day in (20, 21, 22))
NEXT_SATURDAY = (2026, 11, 28)
Status = dg.DagsterRunStatus
DEFAULTS = Settings.model_construct()
SCHEDULES = {one.name: one for one in build_schedules(DEFAULTS)}
weekend_backfill, nightly_index, daily_capacity = map(
    SCHEDULES.__getitem__, ("weekend_backfill", "nightly_index", "daily_capacity")
)


def at(day: tuple[int, int, int], clock: str) -> datetime:
    """A local time in São Paulo."""
    hour, minute = map(int, clock.split(":"))
    return datetime(*day, hour, minute, tzinfo=SAO_PAULO).astimezone(UTC)


@dataclass(frozen=True)
class Daemon:
    """Ticks of a schedule, and the requested runs."""

    lane: Lane

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.lane.instance

    def tick(
        self, schedule: dg.ScheduleDefinition, now: datetime, *, scheduled: datetime | None = None
    ) -> list[dg.RunRequest] | str:
        """Return a tick's run requests, or why there are none.

        :param scheduled: the scheduled time of a late tick.
        """
        with dg.build_schedule_context(
            instance=self.instance,
            scheduled_execution_time=scheduled or now,
            resources={"corpus": replace(self.lane.corpus, clock=lambda: now)},
            repository_def=defs.get_repository_def(),
        ) as context:
            answer = schedule.evaluate_tick(context)
        return list(answer.run_requests or ()) or answer.skip_message or ""

    def late_tick(self, now: datetime) -> list[dg.RunRequest] | str:
        """The same for the sensor that starts the nightly index late."""
        with dg.build_sensor_context(
            instance=self.instance,
            resources={"corpus": replace(self.lane.corpus, clock=lambda: now)},
            repository_def=defs.get_repository_def(),
        ) as context:
            answer = nightly_index_late.evaluate_tick(context)
        return list(answer.run_requests or ()) or answer.skip_message or ""

    def codes(self, now: datetime) -> list[str]:
        """Versions that the backfill requests."""
        answer = self.tick(weekend_backfill, now)
        return [] if isinstance(answer, str) else [str(one.partition_key) for one in answer]

    def obey(self, job: str, request: dg.RunRequest) -> Run:
        """Execute a run request in this process."""
        return Run(
            self.lane.defs()
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                partition_key=request.partition_key,
                tags=dict(request.tags),
                asset_selection=list(request.asset_selection) if request.asset_selection else None,
                raise_on_error=False,
            )
        )

    def pay(self, run: dg.DagsterRun, usd: float) -> None:
        """Add a run's payment to the ledger."""
        with self.lane.corpus.database.connect() as connection:
            space = register_space(connection, self.lane.corpus.settings, "small")
            connection.execute(
                "INSERT INTO embedding_ledger (run_id, corpus, partition_key, space_id,"
                " key_fingerprint, cost_usd) VALUES (%s, 'bible', 'EN_A', %s, 'key', %s)",
                (run.run_id, space.space_id, usd),
            )

    def know_run(
        self,
        job: str,
        status: Status,
        tags: Mapping[str, str] | None = None,
        selection: set[dg.AssetKey] | None = None,
    ) -> dg.DagsterRun:
        """Add a run to the instance."""
        return self.instance.add_run(
            dg.DagsterRun(
                job_name=job,
                run_id=str(uuid4()),
                status=status,
                tags=dict(tags or {}),
                asset_selection=selection,
            )
        )


@pytest.fixture(scope="module")
def _stored_instance() -> Iterator[dg.DagsterInstance]:
    folder = tempfile.mkdtemp(prefix="rag-schedules-")
    with dg.DagsterInstance.local_temp(folder) as stored:
        yield stored
    shutil.rmtree(folder)


@pytest.fixture
def daemon(
    openai_settings: MakeSettings, database: Database, _stored_instance: dg.DagsterInstance
) -> Daemon:
    """The default windows over a small space; prices that a few verses can reach."""
    _stored_instance.wipe()
    for code in _stored_instance.get_dynamic_partitions(BIBLE_VERSIONS):
        _stored_instance.delete_dynamic_partition(BIBLE_VERSIONS, code)
    settings = openai_settings(
        rag_embedding_small_dimensions=4,
        rag_embedding_large_dimensions=6,
        rag_embedding_small_usd_per_million_tokens=10_000,
        rag_embedding_large_usd_per_million_tokens=0,
    )
    return Daemon(Lane(CorpusResource(settings, database), _stored_instance))


def with_settings(daemon: Daemon, **changes: Any) -> Daemon:
    settings = daemon.lane.corpus.settings.model_copy(update=changes)
    return Daemon(Lane(CorpusResource(settings, daemon.lane.corpus.database), daemon.instance))


def drop(daemon: Daemon, *codes: str, verses: int = 3) -> None:
    for code in codes:
        daemon.lane.drop(code, sentences(verses, word=code))


def due(daemon: Daemon, now: datetime) -> bool:
    """Whether the automation of the index waits for the backfill."""
    corpus = daemon.lane.corpus
    url = SecretStr(corpus.database.conninfo)
    settings = corpus.settings.model_copy(update={"rag_database_url": url})
    return window_has_versions_due(settings, now)


def test_the_index_waits_for_a_window_only_while_it_ticks(daemon: Daemon) -> None:
    embedded(daemon)
    drop(daemon, "EN_B")
    assert not due(daemon, at(SATURDAY, "03:20")), "no tick yet"
    assert daemon.codes(at(SATURDAY, "03:25")) == ["EN_A", "EN_B"]
    assert due(daemon, at(SATURDAY, "03:30"))
    assert daemon.tick(nightly_index, at(SATURDAY, "03:30")) == (
        "waiting: the backfill has versions due in its window"
    )
    assert not due(daemon, at(SATURDAY, "03:37")), "an operator stopped the schedule"
    assert len(daemon.late_tick(at(SATURDAY, "03:40"))) == 1
    assert not due(daemon, at(SUNDAY, "03:30")), "another window"


def test_outside_its_windows_the_backfill_says_when_the_next_one_opens(daemon: Daemon) -> None:
    drop(daemon, "EN_A")
    assert daemon.tick(weekend_backfill, at(FRIDAY, "21:00")) == (
        "opens Saturday 01:00 America/Sao_Paulo, in 4 h 0 min"
    )
    assert daemon.tick(weekend_backfill, at(SUNDAY, "07:00")) == (
        "opens Saturday 01:00 America/Sao_Paulo, in 5 d 18 h"
    )


def test_a_window_embeds_what_is_missing_in_order_two_at_a_time_and_each_once(
    daemon: Daemon,
) -> None:
    drop(daemon, "EN_A", "PT_B", "DE_C")
    daemon.lane.drop("PT_NO", sentences(2), ai_allowed=False)
    # The daemon was down when the window opened.
    requests = daemon.tick(weekend_backfill, at(SATURDAY, "02:05"))
    assert not isinstance(requests, str)
    assert [one.partition_key for one in requests] == ["PT_B", "EN_A"]
    for one in requests:
        assert one.tags[WINDOW_TAG] == "2026-11-21T04:00+00:00"
        assert float(one.tags[ESTIMATE_TAG]) > 0
        assert daemon.obey("bible_embeddings", one).success
    assert daemon.codes(at(SATURDAY, "02:10")) == ["DE_C"]
    assert due(daemon, at(SATURDAY, "02:14")), "until a tick has nothing left to start"
    last = {"dagster/partition": "DE_C", WINDOW_TAG: requests[0].tags[WINDOW_TAG]}
    daemon.know_run("bible_embeddings", Status.SUCCESS, last)
    assert daemon.tick(weekend_backfill, at(SATURDAY, "02:15")) == (
        "every version is embedded (closes Saturday 07:00 America/Sao_Paulo, in 4 h 45 min)"
    )
    assert not due(daemon, at(SATURDAY, "02:15"))
    assert daemon.lane.count("SELECT count(*) FROM verse_embeddings") == 6
    drop(daemon, "EN_A", verses=4)  # its files change
    assert daemon.codes(at(SATURDAY, "02:20")) == []  # once in a window
    assert daemon.codes(at(SUNDAY, "01:00")) == ["EN_A", "DE_C"]


def test_a_missed_tick_starts_nothing_after_its_window_has_closed(daemon: Daemon) -> None:
    drop(daemon, "EN_A")
    told = daemon.tick(weekend_backfill, at(SUNDAY, "07:00"), scheduled=at(SUNDAY, "06:55"))
    assert told == "opens Saturday 01:00 America/Sao_Paulo, in 5 d 18 h"


def test_schedules_show_the_days_and_hours_of_the_settings() -> None:
    moved = DEFAULTS.model_copy(
        update={
            "rag_timezone": "Europe/Berlin",
            "rag_index_nightly_at": "23:05",
            "rag_backfill_days": "fri",
            "rag_backfill_start": "22:30",
            "rag_backfill_hours": 3.5,
        }
    )
    shown = [
        {one.name: (one.cron_schedule, one.execution_timezone) for one in build_schedules(each)}
        for each in (DEFAULTS, moved)
    ]
    assert shown[0] == {
        "weekend_backfill": (["*/5 1-6 * * 0,6"], "America/Sao_Paulo"),
        "nightly_index": ("30 3 * * *", "America/Sao_Paulo"),
        "daily_capacity": ("0 23 * * *", "America/Sao_Paulo"),
        "nightly_audit": ("0 5 * * *", "America/Sao_Paulo"),
        "document_upkeep_daily": ("15 3 * * *", "America/Sao_Paulo"),
    }
    assert shown[1]["nightly_index"] == ("5 23 * * *", "Europe/Berlin")
    assert shown[1]["weekend_backfill"][0] == [
        "*/5 0-2 * * 6",  # an hour more than 3.5, for the night on which clocks are put forward
        "*/5 23 * * 5",
        "30-55/5 22 * * 5",
    ]


def test_with_invalid_settings_definitions_load_with_the_default_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAG_INDEX_NIGHTLY_AT", "noon")
    assert {one.name: one.cron_schedule for one in build_schedules()}["nightly_index"] == (
        "30 3 * * *"
    )


def test_what_does_not_fit_waits_for_the_next_window_in_its_order(daemon: Daemon) -> None:
    drop(daemon, "EN_A", "EN_B", "EN_C")
    (first, *_) = daemon.tick(weekend_backfill, at(SATURDAY, "01:00"))
    assert isinstance(first, dg.RunRequest)
    price = float(first.tags[ESTIMATE_TAG])
    poor = with_settings(daemon, rag_backfill_budget_usd=price * 1.5)
    assert poor.codes(at(SATURDAY, "01:00")) == ["EN_A"]
    run = daemon.know_run("bible_embeddings", Status.STARTED, tags_of(first))
    told = f"EN_B waits: it would cost about ${price:.4f}, ${price / 2:.4f} are left (closes"
    assert str(poor.tick(weekend_backfill, at(SATURDAY, "01:05"))).startswith(told)
    daemon.pay(run, price * 1.2)  # more than was expected
    daemon.instance.report_run_failed(run)
    told = f"EN_B waits: it would cost about ${price:.4f}, ${price * 0.3:.4f} are left (closes"
    assert str(poor.tick(weekend_backfill, at(SATURDAY, "01:10"))).startswith(told)
    assert poor.codes(at(SUNDAY, "01:00")) == ["EN_A"]


def test_runs_under_way_are_counted_and_not_started_twice(daemon: Daemon) -> None:
    drop(daemon, "EN_A", "EN_B", "EN_C")
    lane = {"rag/lane": "rag_bible", "dagster/partition": "EN_A"}
    by_hand = daemon.know_run("bible_embeddings", Status.STARTED, lane)
    assert daemon.codes(at(SATURDAY, "01:00")) == ["EN_B"]
    daemon.know_run("bible_embeddings", Status.NOT_STARTED, lane | {"dagster/partition": "EN_B"})
    assert daemon.tick(weekend_backfill, at(SATURDAY, "01:05")) == (
        "2 runs of the lane rag_bible are under way (closes Saturday 07:00 America/Sao_Paulo, in "
        "5 h 55 min)"
    )
    daemon.instance.report_run_failed(by_hand)
    assert daemon.codes(at(SATURDAY, "01:10")) == ["EN_A"]


def test_a_version_that_failed_waits_for_the_next_window(daemon: Daemon) -> None:
    drop(daemon, "EN_A")
    (request,) = daemon.tick(weekend_backfill, at(SATURDAY, "01:00"))
    assert isinstance(request, dg.RunRequest)
    daemon.know_run("bible_embeddings", Status.FAILURE, tags_of(request))
    assert daemon.codes(at(SATURDAY, "01:05")) == []
    assert daemon.codes(at(SUNDAY, "01:00")) == ["EN_A"]


def test_a_version_whose_folder_is_gone_is_embedded_without_being_read(daemon: Daemon) -> None:
    daemon.instance.add_dynamic_partitions(BIBLE_VERSIONS, ["EN_A"])
    load_version(daemon.lane.corpus.database, "EN_A", sentences(3))
    (request,) = daemon.tick(weekend_backfill, at(SATURDAY, "01:00"))
    assert isinstance(request, dg.RunRequest)
    run = daemon.obey("bible_embeddings", request)
    assert run.success
    assert run.materialized() == ["verse_embeddings"]
    assert len(run.checks()) == 4


def tags_of(request: dg.RunRequest) -> dict[str, str]:
    """The tags of the run that Dagster makes of a request."""
    return {
        **request.tags,
        "rag/lane": "rag_bible",
        "dagster/partition": str(request.partition_key),
    }


def test_a_version_unknown_to_the_sensor_gets_its_partition(daemon: Daemon) -> None:
    drop(daemon, "EN_A")
    daemon.instance.delete_dynamic_partition(BIBLE_VERSIONS, "EN_A")
    assert daemon.codes(at(SATURDAY, "01:00")) == ["EN_A"]
    assert list(daemon.instance.get_dynamic_partitions(BIBLE_VERSIONS)) == ["EN_A"]


def test_a_tick_reports_a_paused_lane(daemon: Daemon) -> None:
    drop(daemon, "EN_A")
    with daemon.lane.corpus.database.connect() as connection:
        pause_lane(connection, "rag_bible", "the key is out of quota", "recovery")
    told = daemon.tick(weekend_backfill, at(SATURDAY, "01:00"))
    assert str(told).startswith("the lane rag_bible is paused: the key is out of quota (closes")


def embedded(daemon: Daemon) -> None:
    corpus = daemon.lane.corpus
    load_version(corpus.database, "EN_A", sentences(3))
    embed_version(corpus.database, corpus.settings, "EN_A", EmbedOptions(), "small", run_id="run")


def test_the_indexes_are_decided_on_once_a_night_and_late_if_needed(daemon: Daemon) -> None:
    embedded(daemon)
    (request,) = daemon.tick(nightly_index, at(FRIDAY, "03:30"))
    assert isinstance(request, dg.RunRequest)
    assert request.asset_selection == [dg.AssetKey("verse_embeddings_index")]
    daemon.know_run("nightly_index", Status.FAILURE, request.tags)
    assert daemon.late_tick(at(FRIDAY, "08:20")) == (
        "done for this night; next Saturday 03:30 America/Sao_Paulo, in 19 h 10 min"
    )
    (again,) = daemon.tick(nightly_index, at(SATURDAY, "03:30"))
    assert isinstance(again, dg.RunRequest)
    assert again.run_key != request.run_key


def test_a_missed_night_is_caught_up_in_the_morning_but_not_at_noon(daemon: Daemon) -> None:
    embedded(daemon)
    due = at(FRIDAY, "03:30")
    left = daemon.tick(nightly_index, at(FRIDAY, "08:10"), scheduled=due)
    assert left == "nightly_index_late starts it"
    assert len(daemon.late_tick(at(FRIDAY, "08:10"))) == 1
    noon = "next Saturday 03:30 America/Sao_Paulo, in 15 h 30 min"
    assert daemon.tick(nightly_index, at(FRIDAY, "12:00"), scheduled=due) == noon
    assert daemon.late_tick(at(FRIDAY, "12:00")) == noon


@pytest.mark.parametrize("minutes", range(0, 360, 5))
def test_schedule_and_sensor_never_both_start_it(daemon: Daemon, minutes: int) -> None:
    embedded(daemon)
    now = at(FRIDAY, "03:30") + timedelta(minutes=minutes)
    asked = [daemon.tick(nightly_index, now), daemon.late_tick(now)]
    assert sum(isinstance(one, list) for one in asked) == 1


@pytest.mark.parametrize(
    ("job", "tags", "selection"),
    [
        ("corpus_release", {}, None),
        ("__ASSET_JOB", {}, {dg.AssetKey("chunk_embeddings_index")}),
        ("bible_embeddings", {"rag/lane": "rag_bible"}, None),
    ],
)
def test_a_blocked_night_is_indexed_once_it_is_unblocked(
    daemon: Daemon, job: str, tags: dict[str, str], selection: set[dg.AssetKey] | None
) -> None:
    embedded(daemon)
    going = daemon.know_run(job, Status.STARTED, tags, selection)
    assert "waiting: vectors" in str(daemon.tick(nightly_index, at(FRIDAY, "03:30")))
    assert "waiting: vectors" in str(daemon.late_tick(at(FRIDAY, "07:00")))
    daemon.instance.report_run_failed(going)
    assert len(daemon.late_tick(at(FRIDAY, "07:05"))) == 1


def test_without_vectors_there_is_nothing_to_decide(daemon: Daemon) -> None:
    assert str(daemon.tick(nightly_index, at(FRIDAY, "03:30"))).startswith(
        "nothing is embedded yet"
    )


def keys(answer: list[dg.RunRequest] | str) -> list[str]:
    assert not isinstance(answer, str), answer
    return [str(one.partition_key) for one in answer]


def test_a_day_is_recorded_after_its_end_and_once(daemon: Daemon) -> None:
    evening = at(FRIDAY, "23:00")
    with daemon.lane.corpus.database.connect() as connection:
        connection.execute(
            "UPDATE schema_migrations SET applied_at = %s", (at(FRIDAY, "12:00"),)
        )  # the installation, before which there is no day
    assert keys(daemon.tick(daily_capacity, evening)) == ["2026-11-20"]
    with daemon.lane.corpus.database.connect() as connection:
        connection.execute(
            """
            INSERT INTO capacity_days
            SELECT '2026-11-20', 0, 0, 0, NULL, NULL, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, %s
            """,
            (evening + timedelta(minutes=1),),
        )
    assert daemon.tick(daily_capacity, evening + timedelta(minutes=10)) == (
        "next Saturday 23:00 America/Sao_Paulo, in 23 h 50 min"
    )


def test_missed_days_are_caught_up_as_far_back_as_data_exists(daemon: Daemon) -> None:
    with daemon.lane.corpus.database.connect() as connection:
        connection.execute(
            "INSERT INTO queue_samples VALUES (%s, 'rag_processing', 1, 0, 0, 0)",
            (at((2026, 11, 18), "12:00"),),
        )
    night = at(FRIDAY, "23:30")
    due = ["2026-11-18", "2026-11-19", "2026-11-20"]
    assert keys(daemon.tick(daily_capacity, night)) == due
    tags = {"dagster/partition": "2026-11-19", WINDOW_TAG: "2026-11-19"}
    going = daemon.know_run("capacity_record", Status.NOT_STARTED, tags)
    assert keys(daemon.tick(daily_capacity, night)) == [due[0], due[2]]
    daemon.instance.report_run_failed(going)
    assert keys(daemon.tick(daily_capacity, night)) == due
    for _ in range(2):  # it fails each time: a person is to look
        daemon.know_run("capacity_record", Status.FAILURE, tags)
    assert keys(daemon.tick(daily_capacity, night)) == [due[0], due[2]]
