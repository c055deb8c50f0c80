"""``rag-assets demo``: from nothing to a search through an active release, and again in seconds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from rag_assets_tests.cli.conftest import Run

pytestmark = pytest.mark.slow


def test_the_demo_ends_with_an_active_release_and_a_search_through_it(
    run: Run, workplace: Path
) -> None:
    shutil.rmtree(workplace / "bibles")
    done = run("demo")
    assert done.status == 0, done.out + done.err
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

    again = run("demo", "--json")
    assert again.status == 0, again.err
    assert again.json["release"]["release_id"] == 1
    assert set(again.json["release"]["checks"].values()) == {True}
    assert again.json["search"]["release_id"] == 1
    assert again.json["search"]["hits"][0]["usfm"].startswith("JON ")


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
