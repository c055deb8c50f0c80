"""``rag-assets release`` when something is wrong: who is told what, in which form."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.release.corpus import (
    check,
    index,
    prepare,
    release_corpus,
    release_settings,
    tamper,
)

pytestmark = pytest.mark.long

SMALL = {
    "RAG_EMBEDDING_SMALL_DIMENSIONS": "64",
    "RAG_EMBEDDING_LARGE_DIMENSIONS": "96",
    "RAG_GOLDEN_QUERIES": "none",
}


@pytest.fixture
def corpus(database: Database, make_settings: MakeSettings, environment: dict[str, str]) -> None:
    """Release 1 serves EN_A; EN_B is ready, but for one vector that is wrong."""
    environment |= SMALL
    settings = release_settings(make_settings)
    prepare(database, settings)
    release_corpus(database, settings)
    prepare(database, settings, "EN_B")
    tamper(database, settings, "EN_B")
    check(database, settings, "EN_B")
    index(database, settings)


WHY = (
    "EN_B: finite_and_normalised: small: 1 vectors are not finite or not of norm 1 "
    "(GEN 1:1: norm 3.0009)"
)


@pytest.mark.usefixtures("corpus")
def test_the_gate_refuses_with_its_reason_and_leaves_out_when_told_to(
    run: Run, workplace: Path
) -> None:
    refused = run("release", "gate", "--junit", "gate.xml")
    assert refused.status == 1
    assert refused.out.startswith("refused")
    assert refused.out.splitlines()[1:] == [f"  {WHY}"]
    suite = ElementTree.parse(workplace / "gate.xml").find("testsuite[@name='EN_B']")  # noqa: S314
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "failed"
    assert failure.get("message") == WHY.split(": ", 2)[2]

    told = run("release", "gate", "--leave-out-failing", "--json", "--junit", "gate.xml")
    assert told.status == 0
    assert (told.json["passed"], told.json["versions"]) == (True, ["EN_A"])
    assert (told.json["unchanged"], list(told.json["left_out"])) == (True, ["EN_B"])
    root = ElementTree.parse(workplace / "gate.xml").getroot()  # noqa: S314
    assert list(root.iter("failure")) == []
    skipped = {
        case.get("classname") for case in root.iter("testcase") if case.find("skipped") is not None
    }
    assert skipped == {"EN_B"}
    assert run("release", "gate", "--refuse-failing").status == 1
    assert run("release", "gate", RAG_RELEASE_LEAVE_OUT_FAILING="true").status == 0


@pytest.mark.usefixtures("corpus")
def test_a_refusal_is_shown_by_status_with_its_reasons_and_serves_nothing_else(run: Run) -> None:
    refused = run("release", "activate")
    assert refused.status == 1
    assert refused.err.startswith(f"error: the gate refuses the release: {WHY}")
    assert "Traceback" not in refused.err
    status = run("release", "status")
    assert status.status == 0
    assert "release 2 was refused:" in status.out
    assert f"  {WHY}" in status.out
    shown = run("release", "status", "--json").json
    assert shown["active"]["release_id"] == 1
    assert [(found["release_id"], found["state"]) for found in shown["releases"]] == [
        (2, "refused"),
        (1, "active"),
    ]
    assert run("release", "status", "--limit", "1", "--json").json["releases"][0]["reasons"] == [
        WHY
    ]
    by_hand = run("release", "activate", "2")
    assert by_hand.status == 1
    assert f"release 2 was refused: {WHY}" in by_hand.err
    as_json = run("release", "activate", "--json")
    assert as_json.status == 1
    assert as_json.json["error"] == "GateRefusedError"
    assert WHY in as_json.json["message"]


@pytest.mark.usefixtures("corpus")
def test_diff_shows_two_releases_or_what_would_come_next(run: Run) -> None:
    changes = run("release", "diff", "--json").json
    assert changes == []  # what fails is not part of what would be released
    assert "no difference" in run("release", "diff", "1", "1").out
    unknown = run("release", "diff", "1", "7")
    assert unknown.status == 1
    assert "there is no release 7" in unknown.err


@pytest.mark.usefixtures("corpus")
def test_nothing_before_the_first_release_can_be_rolled_back_to(run: Run) -> None:
    done = run("release", "rollback")
    assert done.status == 1
    assert "release 1 is the first: none before it" in done.err
    as_json = run("release", "rollback", "--json")
    assert (as_json.status, as_json.json["error"]) == (1, "ConfigurationError")


def test_a_release_is_brought_back_and_the_difference_is_told(
    run: Run, database: Database, make_settings: MakeSettings, environment: dict[str, str]
) -> None:
    environment |= SMALL
    settings = release_settings(make_settings)
    for code in ("EN_A", "EN_B"):
        prepare(database, settings, code)
        release_corpus(database, settings)
    changes = {row["what"]: row for row in run("release", "diff", "1", "2", "--json").json}
    assert changes["EN_B: rows"] == {"what": "EN_B: rows", "before": None, "after": 60}
    back = run("release", "rollback")
    assert back.status == 0, back.err
    assert "before: release 2" in back.err
    assert "versions      EN_A\n" in back.out
    (state,) = (
        found["state"]
        for found in run("release", "status", "--json").json["releases"]
        if found["release_id"] == 2
    )
    assert state == "rolled_back"
