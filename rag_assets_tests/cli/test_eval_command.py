"""``rag-assets eval``: a file of queries in, figures out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import bilingual, copied, verse_text
from rag_assets_tests.cli.conftest import Run

pytestmark = pytest.mark.long

__all__ = ["bilingual", "copied"]
GOLDEN = "samples/golden_queries.toml"


@pytest.fixture
def database(bilingual: Database, copied: object) -> Database:
    """Instead of the empty one: both samples, released."""
    assert callable(copied)
    found = copied(bilingual)
    assert isinstance(found, Database)
    return found


@pytest.mark.slow
def test_golden_queries_are_evaluated_in_their_language(run: Run) -> None:
    done = run("eval", GOLDEN, "--json")
    assert done.status == 0, done.err
    found = done.json
    assert found["queries"] == found["expecting"] == len(found["results"]) > 20
    assert (found["release"], found["top_k"], found["coverage"]) == (1, 10, 1)
    assert 0 < found["hit_at_k"] <= 1
    assert 0 < found["p50_ms"] <= found["p95_ms"]
    answered = sum(result["found_at"] is not None for result in found["results"])
    assert found["hit_at_k"] == pytest.approx(answered / found["queries"])
    hybrid = run("eval", GOLDEN, "--json", "--hybrid", "--rerank", "--collapse").json
    assert hybrid["hit_at_k"] > found["hit_at_k"]


@pytest.mark.slow
def test_json_lines_do_as_well_and_people_read_a_table(run: Run, workplace: Path) -> None:
    lines = [
        {"text": verse_text("EN_SAMPLE", "RUT", 1, 16), "expected": ["RUT 1:16"]},
        {"text": verse_text("PT_SAMPLE", "PSA", 23, 1), "expected": ["GEN 1:1"], "language": "pt"},
        {"text": "um peixe"},
    ]
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (workplace / "queries.jsonl").write_text(text, encoding="utf-8")
    found = run("eval", "queries.jsonl", "--top-k", "3", "--json").json
    assert (found["queries"], found["expecting"], found["hit_at_k"]) == (3, 2, 0.5)
    assert [result["found_at"] for result in found["results"]] == [1, None, None]
    assert found["results"][0]["hits"][0] == "RUT 1:16"
    shown = run("eval", "queries.jsonl", "--top-k", "3")
    assert shown.status == 0, shown.err
    for word in (
        "found at",
        "RUT 1:16",
        "um peixe",
        "hit@3",
        "0.5",
        "p50 ms",
        "p95 ms",
        "coverage",
    ):
        assert word in shown.out


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.toml", None, "is not there"),
        ("a.toml", "[[query", "is not TOML"),
        ("a.toml", "", "holds no [[query]]"),
        ("a.toml", "query = 3", "holds no [[query]]"),
        ("a.toml", "query = [3]", "query 1 is not a table"),
        ("a.toml", '[[query]]\nexpected = ["RUT 1:1"]', "query 1 has no text"),
        (
            "a.toml",
            '[[query]]\ntext = "a"\nexpected = "RUT 1:1"',
            "expected is not a list of references",
        ),
        ("a.toml", '[[query]]\ntext = "a"\nlanguage = 3', "language is not a tag"),
        ("a.toml", '[[query]]\ntext = "a"\nlanguage = "el"', "in language el"),
        ("a.jsonl", '{"text": "a"}\n{"text"', "is not JSON lines"),
    ],
)
def test_a_file_that_is_not_right_is_told_with_its_place(
    run: Run, workplace: Path, name: str, content: str | None, sentence: str
) -> None:
    if content is not None:
        (workplace / name).write_text(content, encoding="utf-8")
    done = run("eval", name)
    assert done.status == 1
    assert sentence in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_proposed_queries_can_be_evaluated_as_they_are(run: Run, workplace: Path) -> None:
    small = {"RAG_EMBEDDING_SMALL_DIMENSIONS": "64", "RAG_EMBEDDING_LARGE_DIMENSIONS": "96"}
    proposed = run("eval", "--propose", "6", **small)
    assert proposed.status == 0, proposed.err
    (workplace / "proposed.toml").write_text(proposed.out, encoding="utf-8")
    assert max(map(len, proposed.out.splitlines())) < 500
    found = run("eval", "proposed.toml", "--hybrid", "--json").json
    assert found["queries"] == found["expecting"] == 6
    assert found["hit_at_k"] == 1, "words out of a verse find it"
    other = run("eval", "--propose", "6", "--seed", "2", **small)
    assert other.out != proposed.out
