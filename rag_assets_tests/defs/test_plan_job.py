"""The plan reports the cost of embedding in the log and as an observation, and writes nothing."""

from __future__ import annotations

import dagster as dg
import pytest
from psycopg import sql

from openai_emulator.process import Emulator
from rag_assets.defs.bible.jobs import plan_table
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane


def plan(lane: Lane, **config: object) -> dg.ExecuteInProcessResult:
    """Run the job."""
    job = lane.defs().resolve_job_def("bible_embedding_plan")
    return job.execute_in_process(
        instance=lane.instance,
        run_config={"ops": {"plan_bible_embeddings": {"config": config}}},
        raise_on_error=False,
    )


def observed(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """The metadata of the job's one observation."""
    (event,) = result.get_asset_observation_events()
    observation = event.asset_observation_data.asset_observation
    assert observation.asset_key == dg.AssetKey("verse_embeddings")
    return {label: value.value for label, value in observation.metadata.items()}


def cells(table: object) -> list[list[str]]:
    """A Markdown table's rows, without its head."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in str(table).splitlines()[2:]
    ]


def contents(lane: Lane) -> dict[str, object]:
    """A hash of each table and view of the corpus, and the state of its sequences."""
    with lane.corpus.database.connect() as connection:
        names = connection.execute(
            """
            SELECT relname::text FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
            """
        ).fetchall()
        hashes = {
            name: connection.execute(
                sql.SQL(
                    "SELECT md5(string_agg(row::text, '' ORDER BY row::text)) FROM {} AS row"
                ).format(sql.Identifier(name))
            ).fetchone()
            for (name,) in names
        }
        sequences = connection.execute(
            "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
        ).fetchall()
    return {**hashes, **dict(sequences)}


def test_the_plan_is_logged_and_observed_without_writes_or_requests(
    lane: Lane, emulator: Emulator
) -> None:
    lane.drop("EN_DONE", sentences(10))
    assert lane.run("EN_DONE").success
    lane.drop(
        "EN_NEXT", [*sentences(4), *sentences(40, word="stream"), *sentences(5, word="stream")]
    )
    lane.run("EN_NEXT", job="bible_verses")
    asked, before = emulator.stats().requests, contents(lane)

    result = plan(lane)
    assert result.success
    told = observed(result)
    rows = cells(told["plan"])
    assert [row[:5] for row in rows] == [
        ["EN_DONE", "small", "0", "0", "0"],
        ["EN_DONE", "large", "0", "0", "0"],
        ["EN_NEXT", "small", "49", "4", "40"],
        ["EN_NEXT", "large", "49", "4", "40"],
        ["**all**", "", "98", "8", "80"],
    ]
    assert [row[7] for row in rows] == ["0", "0", "2", "2", "4"]  # requests of 32 texts
    logged = [entry.user_message for entry in lane.instance.all_logs(result.run_id)]
    assert told["plan"] in logged
    assert (emulator.stats().requests, contents(lane)) == (asked, before)

    lane.run("EN_NEXT")
    after = emulator.stats()
    assert after.requests - asked == 4
    assert told["tokens"] == pytest.approx(
        lane.count("SELECT sum(tokens) FROM embedding_ledger WHERE partition_key = 'EN_NEXT'"),
        rel=0.05,
    )
    assert told["batch_cost_usd"] == pytest.approx(told["cost_usd"] / 2)
    assert told["batch_hours"] == 24
    assert [row[9:] for row in rows if row[4] == "0"] == [["0.0000", "0"]] * 2
    assert told["cost_usd"] == pytest.approx(
        float(
            lane.rows("SELECT sum(cost_usd) FROM embedding_ledger WHERE partition_key = 'EN_NEXT'")[
                0
            ][0]
        ),
        rel=0.05,
    )


def test_one_version_is_planned_alone_and_overwriting_counts_every_text(lane: Lane) -> None:
    for code in ("EN_DONE", "EN_NEXT"):
        lane.drop(code, sentences(6, word=code))
        assert lane.run(code).success
    table = cells(observed(plan(lane, versions=["EN_DONE"], overwrite=True))["plan"])
    assert [row[:5] for row in table] == [
        ["EN_DONE", "small", "6", "0", "6"],
        ["EN_DONE", "large", "6", "0", "6"],
        ["**all**", "", "12", "0", "12"],
    ]


def test_without_versions_the_plan_is_empty(lane: Lane, emulator: Emulator) -> None:
    told = observed(plan(lane))
    assert (told["tokens"], told["cost_usd"]) == (0, 0)
    assert cells(told["plan"]) == [
        ["**all**", "", "0", "0", "0", "0", "0.0000", "0", "0.0", "0.0000", ""]
    ]
    assert plan_table([]) == told["plan"]
    assert emulator.stats().requests == 0


def test_offline_the_plan_costs_nothing(make_lane: MakeLane) -> None:
    lane = make_lane(rag_embedding_provider="offline")
    lane.drop("EN_NEXT", sentences(6))
    lane.run("EN_NEXT", job="bible_verses")
    told = observed(plan(lane))
    assert told["cost_usd"] == 0
    row = cells(told["plan"])[0]
    assert (row[:5], row[9:]) == (["EN_NEXT", "small", "6", "0", "6"], ["–", "–"])
