"""Options of the launchpad, and their effects."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner

from openai_emulator.process import Emulator
from rag_assets.bible.embed_verses import EmbedOptions
from rag_assets.cli.main import app
from rag_assets.defs.bible.config import EmbeddingConfig
from rag_assets.defs.index.config import IndexConfig
from rag_assets.errors import ConfigurationError
from rag_assets.settings.model import Settings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, EmbedOptions()),
        ({"only_missing": True}, EmbedOptions(mode="only_missing")),
        ({"overwrite": True, "only_missing": False}, EmbedOptions(mode="overwrite")),
        ({"mode": "only_missing"}, EmbedOptions()),
        ({"mode": "overwrite"}, EmbedOptions(mode="overwrite")),
        (
            {"mode": "overwrite", "overwrite": True, "only_missing": False},
            EmbedOptions(mode="overwrite"),
        ),
        ({"spaces": "small"}, EmbedOptions(roles=("small",))),
        ({"spaces": "large", "large_only": True}, EmbedOptions(roles=("large",))),
        ({"small_only": True}, EmbedOptions(roles=("small",))),
        ({"large_only": True}, EmbedOptions(roles=("large",))),
        (
            {"limit": 1, "batch_size": 2048, "sleep": 0, "max_retries": 0, "timeout": 0.5},
            EmbedOptions(limit=1, batch_size=2048, sleep_s=0, max_retries=0, timeout_s=0.5),
        ),
    ],
)
def test_the_launchpad_becomes_options(given: dict[str, Any], options: EmbedOptions) -> None:
    assert EmbeddingConfig.of(given).options() == options


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"overwrite": True}, "overwrite and only_missing exclude each other"),
        ({"only_missing": False}, "nothing to do: set either only_missing or overwrite"),
        ({"small_only": True, "large_only": True}, "small_only and large_only exclude each other"),
        ({"mode": "overwrite", "only_missing": True}, "mode: overwrite and the fields of its"),
        ({"spaces": "large", "small_only": True}, "spaces: large and the fields of its"),
    ],
)
def test_conflicting_options_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        EmbeddingConfig.of(given)


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
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        EmbeddingConfig.of(given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"limit": 0}, "limit: must be at least 1, not 0"),
        ({"batch_size": 0}, "batch_size: must be at least 1, not 0"),
        ({"batch_size": {"env": "SIZE"}}, "batch_size: must be at most 2048"),
        ({"timeout": 0}, "timeout: must be greater than 0, not 0"),
        ({"overwrite": True}, "overwrite and only_missing exclude each other"),
        ({"small_only": True, "large_only": True}, "small_only and large_only exclude each other"),
    ],
)
def test_an_invalid_option_fails_a_run_before_anything_is_read(
    lane: Lane,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    reason: str,
) -> None:
    monkeypatch.setenv("SIZE", "4096")
    lane.drop("EN_PAD", sentences(3))
    run = lane.run("EN_PAD", config=given)
    assert not run.success
    assert reason in run.failure("verses").description
    alone = lane.run("EN_PAD", config=given, only=["verse_embeddings"])
    assert alone.failure("verse_embeddings") == run.failure("verses")
    assert lane.count("SELECT count(*) FROM verses") == 0
    assert emulator.stats().requests == 0


@pytest.mark.parametrize(
    ("job", "op", "given", "reason"),
    [
        ("corpus_index", "verse_embeddings_index", {"lists": 0}, "lists: must be at least 1"),
        (
            "corpus_index",
            "verse_embeddings_index",
            {"lists_candidates": [64, 40_000]},
            "lists_candidates.1: must be at most 32768, not 40000",
        ),
        (
            "documents_index",
            "chunk_embeddings_index",
            {"maintenance_work_mem": "2 apples"},
            "'2 apples' is not a size of memory",
        ),
        (
            "corpus_index",
            "verse_embeddings_index",
            {"precision": "int8"},
            "it is vector or halfvec",
        ),
        ("document_processing", "document_lane", {"lane": "small"}, "lane 'small' is unknown"),
        ("document_dead_letters", "put_dead_letters_back", {}, "select dead letters by"),
    ],
)
def test_every_step_refuses_invalid_options_in_words(
    lane: Lane, job: str, op: str, given: dict[str, Any], reason: str
) -> None:
    run_config = {"ops": {op: {"config": given}}}
    run = Run(
        lane.defs()
        .resolve_job_def(job)
        .execute_in_process(instance=lane.instance, run_config=run_config, raise_on_error=False)
    )
    first = {"documents_index": "document_embeddings_checks"}.get(job, op)
    assert reason in run.failure(first).description


def test_a_whole_run_checks_its_indexs_options_before_it_reads(
    lane: Lane, emulator: Emulator
) -> None:
    lane.drop("EN_PAD", sentences(3))
    run = Run(
        lane.defs()
        .resolve_job_def("bible_to_release")
        .execute_in_process(
            partition_key="EN_PAD",
            instance=lane.instance,
            run_config={"ops": {"verse_embeddings_index": {"config": {"lists": 0}}}},
            raise_on_error=False,
        )
    )
    assert "lists: must be at least 1, not 0" in run.failure("verses").description
    assert lane.count("SELECT count(*) FROM verses") == 0
    assert emulator.stats().requests == 0


def test_bounds_are_those_of_the_settings() -> None:
    replaced = {
        EmbeddingConfig: {
            "batch_size": "rag_embedding_batch_size",
            "sleep": "rag_embedding_delay_ms",
            "max_retries": "rag_embedding_max_retries",
            "timeout": "rag_embedding_timeout_s",
        },
        IndexConfig: {"lists": "rag_index_lists"},
    }
    for config, entries in replaced.items():
        for entry, setting in entries.items():
            rules = config.model_fields[entry].metadata
            assert rules == Settings.model_fields[setting].metadata, entry


@pytest.mark.parametrize(("entry", "value"), [("batch_size", 4096), ("limit", 0)])
def test_a_range_is_refused_in_the_words_of_the_command_line(entry: str, value: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddingConfig.of({entry: value})
    option = f"--{entry.replace('_', '-')}"
    done = CliRunner().invoke(app, ["bible", "embed", "EN_PAD", option, str(value)])
    shown = " ".join(done.output.replace("│", " ").split())
    sentence = str(caught.value).split(f"{entry}: ")[1].removesuffix(f", not {value}")
    assert f"Invalid value for '{option}': {sentence}" in shown


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


def test_a_run_with_a_limit_fails_because_the_version_is_incomplete(lane: Lane) -> None:
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


def test_overwrite_pays_for_every_text_again_and_replaces_the_vectors(
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
