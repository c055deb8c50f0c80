"""Searching, gating and showing documents from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from defusedxml import ElementTree

from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.documents.corpus import judge_all, publish_document

pytestmark = pytest.mark.long

MANUAL = ["The pump must never run dry", "Grease the [bearings] every month"]


@pytest.fixture
def stocked(database: Database, make_settings: MakeSettings) -> Database:
    """One document, judged and not yet released."""
    settings = make_settings()
    publish_document(
        database, settings, "manual.pdf", MANUAL, title="[Manual]", heading=("Pumps",), paged=True
    )
    judge_all(database, settings)
    return database


def test_documents_are_gated_released_and_found(
    run: Run, stocked: Database, workplace: Path
) -> None:
    gated = run("release", "gate", "--junit", "gate.xml")
    assert gated.status == 0, gated.out
    assert gated.out.startswith("pass: documents")
    suites = ElementTree.parse(workplace / "gate.xml").getroot().findall("testsuite")
    cases = {suite.get("name"): suite.get("failures") for suite in suites}
    assert cases["documents"] == cases["documents' index"] == "0"

    released = run("release", "activate")
    assert released.status == 0, released.out + released.err
    assert "documents searched  code set 1" in released.out
    (table, *_) = [
        table for table in run("index", "status", "--json").json
        if table["table"].startswith("chunk_embeddings_s1")
    ]  # fmt: skip
    assert (table["decision"], table["generations"]) == ("codes", [])

    found = run("search", "bearings", "--corpus", "documents", "--json").json
    assert found["hits"][0]["document"]["key"] == "manual.pdf"
    shown = run("search", "grease the bearings", "--document", "manual.pdf", "--language", "en")
    assert "[Manual], p. 2 manual.pdf" in shown.out
    assert MANUAL[1] in shown.out
    assert "2 hits of release 1 (exact)" in shown.out


def test_a_long_passage_is_a_snippet_unless_it_is_wanted_in_full(
    run: Run, database: Database, make_settings: MakeSettings
) -> None:
    settings = make_settings()
    passage = (
        f"{'Check the oil. ' * 40}Grease the bearings every month. {'Clean the filter. ' * 40}"
    )
    publish_document(database, settings, "manual.pdf", [passage], title="Manual")
    judge_all(database, settings)
    assert run("release", "activate").status == 0
    words = ("search", "grease the bearings", "--corpus", "documents")
    shown, full, as_json = (run(*words, *more) for more in ((), ("--full",), ("--json",)))
    assert "oil. Grease the bearings every month. Clean" in shown.out
    assert shown.out.count("…") == 2
    assert len(shown.out) < 500
    assert " ".join(passage.split()) in " ".join(full.out.split())
    assert as_json.json["hits"][0]["text"].split() == passage.split()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--corpus", "documents", "--book", "RUT"), "are the Bible's: documents have none"),
        (("--corpus", "bible", "--document", "manual.pdf"), "ask for corpus documents"),
        (("--corpus", "bible", "--context", "1"), "context applies to documents only"),
        (("--document", "manuel.pdf"), "Did you mean manual.pdf?"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    run: Run, stocked: Database, arguments: tuple[str, ...], said: str
) -> None:
    assert run("release", "activate").status == 0
    done = run("search", "pump", *arguments)
    assert done.status == 1
    assert said in done.err
