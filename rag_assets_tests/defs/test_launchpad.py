"""What a person may write into the launchpad, and what each choice does."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from rag_assets.defs.bible.config import EmbeddingConfig
from rag_assets.embedding.verses import EmbedOptions
from rag_assets.errors import ConfigurationError
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane
from rag_assets_tests.openai_emulator.process import Emulator


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, EmbedOptions()),
        ({"only_missing": True}, EmbedOptions(mode="only_missing")),
        ({"overwrite": True, "only_missing": False}, EmbedOptions(mode="overwrite")),
        ({"small_only": True}, EmbedOptions(roles=("small",))),
        ({"large_only": True}, EmbedOptions(roles=("large",))),
        (
            {"limit": 1, "batch_size": 2048, "sleep": 0, "max_retries": 0, "timeout": 0.5},
            EmbedOptions(limit=1, batch_size=2048, sleep_s=0, max_retries=0, timeout_s=0.5),
        ),
    ],
)
def test_the_launchpad_becomes_options(given: dict[str, Any], options: EmbedOptions) -> None:
    assert EmbeddingConfig(**given).options() == options


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"overwrite": True}, "overwrite and only_missing exclude each other"),
        ({"only_missing": False}, "nothing to do: set either only_missing or overwrite"),
        ({"small_only": True, "large_only": True}, "small_only and large_only exclude each other"),
    ],
)
def test_choices_that_exclude_each_other_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        EmbeddingConfig(**given).options()


@pytest.mark.parametrize(
    "given",
    [
        {"limit": 0},
        {"batch_size": 0},
        {"batch_size": 2049},
        {"sleep": -0.1},
        {"max_retries": -1},
        {"max_retries": 21},
        {"timeout": 0},
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        EmbeddingConfig(**given)


def test_a_refused_choice_fails_the_run_before_anything_is_bought(
    lane: Lane, emulator: Emulator
) -> None:
    lane.drop("EN_PAD", sentences(3))
    failure = lane.run("EN_PAD", config={"overwrite": True}).failure("verse_embeddings")
    assert failure.description.startswith("overwrite and only_missing exclude each other")
    assert failure.metadata == {"error_class": "ConfigurationError", "may_pass_later": False}

    run = lane.run("EN_PAD", config={"limit": 0})
    data = run.result.failure_data_for_node("verse_embeddings")
    assert data is not None
    assert data.error is not None
    assert data.error.cause is not None
    assert "limit\n  Input should be greater than or equal to 1" in data.error.cause.message
    assert emulator.stats().requests == 0


def test_an_unknown_entry_does_not_even_start_a_run(lane: Lane) -> None:
    lane.drop("EN_PAD", sentences(3))
    with pytest.raises(dg.DagsterInvalidConfigError, match='unexpected config entry "limt"'):
        lane.run("EN_PAD", config={"limt": 3})


def test_a_limit_embeds_the_first_verses_of_one_space_only(lane: Lane, emulator: Emulator) -> None:
    lane.drop("EN_PAD", sentences(9))
    lane.run("EN_PAD", job="bible_verses")
    told = lane.run(
        "EN_PAD", config={"limit": 4, "small_only": True}, only=["verse_embeddings"]
    ).metadata("verse_embeddings")
    assert (told["embedded"], told["requests"]) == (4, 1)
    assert lane.rows(
        "SELECT verse FROM verse_embeddings_s1 JOIN verses USING (verse_id) ORDER BY 1"
    ) == [(1,), (2,), (3,), (4,)]
    assert lane.rows("SELECT model, dimensions FROM embedding_spaces") == [
        ("text-embedding-3-small", 1536)
    ]

    told = lane.run(
        "EN_PAD", config={"large_only": True, "batch_size": 2}, only=["verse_embeddings"]
    ).metadata("verse_embeddings")
    assert (told["embedded"], told["requests"]) == (9, 5)
    assert lane.count("SELECT count(*) FROM verse_embeddings_s1") == 4
    assert lane.count("SELECT count(*) FROM verse_embeddings_s2") == 9
    assert emulator.stats().requests == 6


def test_a_run_with_a_limit_reads_failed_because_the_version_is_not_complete(lane: Lane) -> None:
    lane.drop("EN_PAD", sentences(6))
    run = lane.run("EN_PAD", config={"limit": 2})
    assert not run.success
    assert run.failed_checks() == ["completeness"]
    assert run.materialized() == ["verses", "verse_embeddings"]
    assert lane.count("SELECT count(*) FROM verse_embeddings") == 2


def test_sleep_pauses_after_each_request(make_lane: MakeLane, emulator: Emulator) -> None:
    lane = make_lane(rag_embedding_concurrency=1)
    lane.drop("EN_PAD", sentences(3))
    lane.run("EN_PAD", config={"batch_size": 1, "sleep": 0.2, "small_only": True})
    stats = emulator.stats()
    assert stats.requests == 3
    assert stats.first_request_at is not None
    assert stats.last_request_at is not None
    assert stats.last_request_at - stats.first_request_at >= 0.4


def test_overwrite_buys_every_text_again_and_replaces_the_vectors(
    lane: Lane, emulator: Emulator
) -> None:
    lane.drop("EN_PAD", sentences(5))
    first = lane.run("EN_PAD", config={"small_only": True})
    assert lane.rows("SELECT DISTINCT run_id FROM verse_embeddings_s1") == [(first.run_id,)]
    again = lane.run(
        "EN_PAD", config={"overwrite": True, "only_missing": False, "small_only": True}
    )
    assert again.success
    assert again.metadata("verse_embeddings")["embedded"] == 5
    assert emulator.stats().duplicate_answers == 5
    assert lane.rows("SELECT DISTINCT run_id FROM verse_embeddings_s1") == [(again.run_id,)]
