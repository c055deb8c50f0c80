"""``rag-assets release`` and ``rag-assets index`` as people and pipelines use them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from rag_assets_tests.cli.conftest import Run

pytestmark = pytest.mark.long

CODES = ("EN_SAMPLE", "PT_SAMPLE")


@pytest.fixture
def embed(run: Run) -> Run:
    """``run`` with the samples embedded and nothing released."""
    done = run("bible", "embed", *CODES)
    assert done.status == 0, done.err
    return run


def parts(path: Path, tag: str) -> list[ElementTree.Element]:
    """All elements of a tag in a file that the command wrote."""
    return list(ElementTree.parse(path).iter(tag))  # noqa: S314


def test_nothing_released_is_said_everywhere(run: Run) -> None:
    assert "nothing is released yet" in run("release", "status").out
    gate = run("release", "gate")
    assert gate.status == 1
    assert "nothing is embedded" in gate.out
    for command in (("search", "anything"), ("release", "rollback"), ("release", "activate", "3")):
        done = run(*command)
        assert done.status == 1
        assert done.err.startswith("error: ")
        assert "Traceback" not in done.err


def test_the_gate_tells_a_pipeline_what_is_missing_and_then_lets_it_through(
    embed: Run, workplace: Path
) -> None:
    run = embed
    refused = run("release", "gate", "--json", "--junit", "gate.xml")
    assert refused.status == 1
    assert refused.json["passed"] is False
    assert [reason["check"] for reason in refused.json["reasons"]] == ["decision"]
    suites = {suite.get("name"): suite for suite in parts(workplace / "gate.xml", "testsuite")}
    assert set(suites) == {"index", *CODES}
    failed = suites["index"].findall("testcase[failure]")
    assert [case.get("name") for case in failed] == ["decision"]
    assert suites["EN_SAMPLE"].get("failures") == "0"
    assert "there is no decision on an index yet" in run("release", "gate").out
    assert run("release", "activate").status == 1

    built = run("index", "build", "--json")
    assert built.status == 0, built.err
    assert built.json["decision"] == "codes"
    assert set(built.json["checks"].values()) == {True}
    passed = run("release", "gate", "--junit", "gate.xml")
    assert (passed.status, passed.out.split(":")[0]) == (0, "pass")
    assert parts(workplace / "gate.xml", "failure") == []

    assert run("release", "activate").status == 0
    assert run("search", "where you go I will go", "--version", "EN_SAMPLE").status == 0
    again = run("release", "activate")
    assert (again.status, again.out.strip()) == (0, "release 2 already serves this")
    assert run("release", "diff").out.strip() == "no difference"


def test_a_forced_index_is_released_rolled_back_and_brought_back(embed: Run) -> None:
    run = embed
    assert run("index", "build").status == 0
    assert run("release", "activate").status == 0
    built = run("index", "build", "--lists", "4")
    assert built.status == 0, built.out
    assert built.out.startswith("build: asked for 4 lists")
    shown = run("index", "status").out
    assert "verse_codes_c1_ivf_g1" in shown
    changes = {row["what"]: row for row in run("release", "diff", "--json").json}
    assert changes["bible small: index generation"] == {
        "what": "bible small: index generation", "before": "none: code set 1", "after": 1,
    }  # fmt: skip
    assert run("release", "activate").status == 0
    assert "idx_verse_embeddings_embedding_small_ivf" in run("index", "status").out
    few = {"RAG_SEARCH_EXACT_ROWS": "10"}  # or else so few rows are searched exactly
    question = ("search", "a great fish swallowed Jonah", "--json")
    # Of 502 rows the index or the scan may be the faster: tuning measures it.
    assert run(*question, **few).json["plan"]["kind"] in {"ivfflat", "codes"}

    back = run("release", "rollback", "--json")
    assert back.status == 0, back.err
    assert (back.json["active"]["release_id"], back.json["before"]) == (1, 2)
    assert run(*question, **few).json["plan"]["kind"] == "codes"
    held = run("release", "gate")
    assert held.status == 1
    assert "--after-rollback" in held.out
    assert run("release", "gate", "--after-rollback").status == 0
    assert run("release", "rollback").status == 1
    assert run("release", "activate", "2").status == 0
    states = [found["state"] for found in run("release", "status", "--json").json["releases"]]
    assert states == ["active", "superseded"]


REFUSED = {
    ("--lists", "4", "--maintenance-work-mem", "lots"): "is not a size of memory",
    ("--precision", "int8"): "it is vector or halfvec",
}
FAILED = {
    ("--lists", "4", "--maintenance-work-mem", "1MB"): "RAG_INDEX_MAINTENANCE_WORK_MEM",
    ("--precision", "vector"): "twice as large",
    ("--lists", "4000"): "too little data",
}


def test_an_index_that_cannot_be_built_so_says_why(embed: Run) -> None:
    for arguments, sentence in (REFUSED | FAILED).items():
        done = embed("index", "build", *arguments)
        assert done.status == 1, arguments
        assert sentence in (done.err if arguments in REFUSED else done.out), arguments
        assert "Traceback" not in done.out + done.err
