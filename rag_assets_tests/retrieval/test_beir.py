"""Collections with judged queries, in the formats of BEIR and TREC."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rag_assets.documents.inbox.files import document_key
from rag_assets.errors import ConfigurationError
from rag_assets.retrieval.beir import (
    JudgedQuery,
    file_name,
    named_by_id,
    read_judged,
    write_documents,
)

CORPUS = [
    {"_id": "MED-10", "title": "Statins", "text": "Lower cholesterol.\u2028Still the same."},
    {"_id": "a/b c", "title": "", "text": "Bread and salt."},
]
QUERIES = [{"_id": "q1", "text": "cholesterol"}, {"_id": "q2", "text": "nobody judged it"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\tMED-10\t2\nq1\ta/b c\t0\nq3\tMED-10\t1\n"


def lines(entries: list[dict[str, str]]) -> str:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(lines(CORPUS), encoding="utf-8")
    (folder / "queries.jsonl").write_text(lines(QUERIES), encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(QRELS, encoding="utf-8")
    return folder


@pytest.fixture
def trec(tmp_path: Path) -> Path:
    folder = tmp_path / "trec"
    folder.mkdir()
    (folder / "ap.trec").write_text(
        "<DOC>\n<DOCNO> AP-1 </DOCNO>\n<TEXT>\nBread &\n<P>salt</P>\n</TEXT>\n</DOC>\n"
        "<doc><docno>AP-2</docno>Water</doc>"
    )
    (folder / "topics.1-2.txt").write_text(
        "<top>\n<num> Number: 301\n<title> Topic: bread\n and salt\n<desc> Description:\n</top>\n"
        "<top>\n<num> 302 </num>\n<title>water</title>\n</top>\n"
    )
    (folder / "qrels.txt").write_text("301 0 AP-1 1\n301 0 AP-2 0\n302 Q0 AP-2 1\n")
    return folder


def test_the_queries_with_a_relevant_document_are_read(beir: Path, trec: Path) -> None:
    assert read_judged(beir, "test") == (
        JudgedQuery("q1", "cholesterol", {"MED-10": 2, "a/b c": 0}),
    )
    assert read_judged(trec, "test") == (
        JudgedQuery("301", "bread and salt", {"AP-1": 1, "AP-2": 0}),
        JudgedQuery("302", "water", {"AP-2": 1}),
    )


def test_topics_may_be_lines_of_an_id_and_a_query(trec: Path) -> None:
    (trec / "topics.1-2.txt").unlink()
    (trec / "queries.tsv").write_text("301\tbread\n302\twater\n")
    assert [query.text for query in read_judged(trec, "test")] == ["bread", "water"]


def test_documents_are_written_by_names_that_lead_back_to_their_ids(
    beir: Path, trec: Path, tmp_path: Path
) -> None:
    into = tmp_path / "inbox"
    assert write_documents(beir, into) == write_documents(trec, into) == 2
    assert (into / "MED-10.md").read_text("utf-8") == (
        "# Statins\n\nLower cholesterol.\u2028Still the same.\n"
    )
    assert (into / file_name("a/b c")).read_text("utf-8") == "Bread and salt.\n"
    assert (into / "AP-1.md").read_text("utf-8").split() == ["Bread", "&", "salt"]
    named = named_by_id(read_judged(beir, "test"))
    for key in ("MED-10", "a/b c"):
        for place in (file_name(key), f"sci/fact/{file_name(key)}", f"x__y/{file_name(key)}"):
            assert named(document_key(place, lambda _: False)) == key
    assert named("other.pdf") == "other.pdf"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("queries.jsonl", '{"_id": "q1"', "line 1 is not JSON"),
        ("queries.jsonl", '{"_id": "q1"}', "line 1 has no text"),
        ("queries.jsonl", '\n{"text": "a"}', "line 2 has no _id"),
        ("queries.jsonl", '{"_id": "q9", "text": "a"}', "no query has a relevant document"),
        ("qrels/test.tsv", "q1\tMED-10\tgood\n", "line 1 is not a query"),
        ("qrels/test.tsv", "q1\tMED-10\n", "line 1 is not a query"),
        ("qrels/test.tsv", "q1 0 0 0 0", "line 1 is not a query"),
        ("corpus.jsonl", "[3]", "line 1 is not an object"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    beir: Path, tmp_path: Path, file: str, content: str, said: str
) -> None:
    (beir / file).write_text(content, encoding="utf-8")
    of_documents = file == "corpus.jsonl"
    with pytest.raises(ConfigurationError, match=said):
        write_documents(beir, tmp_path / "inbox") if of_documents else read_judged(beir, "test")


def test_missing_files_are_named(beir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--split is one of test"):
        read_judged(beir, "dev")
    (beir / "queries.jsonl").unlink()
    with pytest.raises(ConfigurationError, match="has no queries"):
        read_judged(beir, "test")
    with pytest.raises(ConfigurationError, match="0 files of judgments"):
        read_judged(tmp_path, "test")
    with pytest.raises(ConfigurationError, match="has no documents"):
        write_documents(tmp_path, tmp_path / "inbox")
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ConfigurationError, match="there is no folder"):
        read_judged(nowhere, "test")
    with pytest.raises(ConfigurationError, match="there is no folder"):
        write_documents(nowhere, tmp_path / "inbox")
