"""After an erasure no table of either database, and no file, has the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from rag_assets.cli.main import app
from rag_assets.defs.dagster_private import PARTITION_TAG
from rag_assets.defs.launch import traces_in_dagster
from rag_assets.defs.resources import CorpusResource
from rag_assets.embedding.batching import text_hash
from rag_assets.operations.erasure import Erased, erase, plan_document
from rag_assets.postgres.database import Database
from rag_assets.progress import Silent
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.defs.conftest import Lane
from rag_assets_tests.defs.document_lane import DocumentLane

DOCUMENT = "The brass lantern of Oriane hangs behind the seventh door of the quarry."
VERSE = "And the herons of Ebrath rose together when the salt bridge fell."
SPOKEN = {"report.md": "lantern of Oriane", "EN_GONE": "herons of Ebrath"}
"""Which words of the erased texts nothing may contain."""
KEPT = "The ledger of the upper mill was closed in the spring, and the keys were given back."


@pytest.fixture
def lanes(
    workplace: Path,
    database: Database,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Lane, DocumentLane]]:
    """A version and two documents, processed, with Dagster's state in its own database."""
    settings = make_settings(
        rag_documents_url=str(workplace / "inbox"), rag_documents_settle_s=0,
        rag_home=workplace / ".rag", rag_bibles_dir=workplace / "bibles",
        rag_embedding_small_dimensions=64, rag_embedding_large_dimensions=64,
    )  # fmt: skip
    monkeypatch.chdir(workplace)
    monkeypatch.delenv("DAGSTER_HOME")
    for name in settings.model_fields_set:
        monkeypatch.setenv(name.upper(), str(getattr(settings, name)))
    monkeypatch.setenv("RAG_DATABASE_URL", database.conninfo)
    corpus = CorpusResource(settings, database)
    beside = database.named(f"{database.name}_dagster")
    with dg.DagsterInstance.from_config(str(workplace)) as instance:
        yield Lane(corpus, instance), DocumentLane(corpus, instance)
    with database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(beside.name))
        )


def quoting(databases: tuple[Database, Database], folder: Path, words: str) -> list[str]:
    """Tables and files that contain these words."""
    found = []
    for database in databases:
        with database.connect() as connection:
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r'"
                " AND relnamespace = 'public'::regnamespace"
            ).fetchall():
                statement = sql.SQL("SELECT count(*) FROM {} t WHERE t::text ILIKE %s").format(
                    sql.Identifier(name)
                )
                row = connection.execute(statement, (f"%{words}%",)).fetchone()
                found += [name] if row and row[0] else []
    files = [path for path in folder.rglob("*") if path.is_file()]
    return found + [path.name for path in files if words.encode() in path.read_bytes()]


def test_an_erased_document_and_an_erased_version_are_nowhere(
    lanes: tuple[Lane, DocumentLane], workplace: Path
) -> None:
    lane, documents = lanes
    corpus, instance = lane.corpus, lane.instance
    databases = corpus.database, corpus.database.named(f"{corpus.database.name}_dagster")
    lane.drop("EN_GONE", [VERSE, "A second verse that is no shorter than the first of the two."])
    assert lane.run("EN_GONE").success
    documents.drop("report.md", f"# The report\n\n{DOCUMENT}\n\n{KEPT}\n")
    documents.drop("other.md", f"# Another\n\n{KEPT}\n")
    for run in documents.work():
        assert run.success
    log = workplace / ".rag" / "up.log"
    log.write_text(f"before\nrejected: {DOCUMENT}\nrejected: {VERSE}\nafter\n")
    with corpus.database.connect() as connection:
        for text in (DOCUMENT, VERSE):
            connection.execute(
                "INSERT INTO messages (subject, text, urgent) VALUES (%s, %s, false)",
                (text[:5], f"A run failed: {text}"),
            )
            connection.execute(
                "INSERT INTO incidents (state, cause, evidence, began_at)"
                " VALUES ('closed', 'test', %s, now())",
                (json.dumps({"errors": [text]}),),
            )
        connection.execute(
            "INSERT INTO query_embeddings (space_id, query_hash, embedding) VALUES (1, %s, '')",
            (text_hash(DOCUMENT),),
        )
    noted = dg.AssetMaterialization("noted", metadata={"quote": DOCUMENT, "verse": VERSE})
    instance.report_runless_asset_event(noted)

    with corpus.database.connect() as connection:
        connection.execute(
            "UPDATE documents SET state = 'running', lease_until = now() + interval '1 hour'"
            " WHERE document_key = 'other.md'"
        )
    working = instance.create_run_for_job(lane.defs().resolve_job_def("bible_embeddings"))
    instance.add_run_tags(working.run_id, {PARTITION_TAG: "EN_GONE"})
    for arguments, reason in (
        (("documents", "erase", "nowhere.pdf"), "there is no document nowhere.pdf"),
        (("documents", "erase", "other.md"), "is being processed"),
        (("bible", "erase", "EN_GONE"), "a run is working on EN_GONE"),
        (("bible", "erase", "EN_NEVER"), "there is no version EN_NEVER"),
    ):
        refused = CliRunner().invoke(app, [*arguments, "--yes", "--json"])
        assert refused.exit_code == 1
        assert reason in json.loads(refused.stdout)["message"]
    instance.delete_run(working.run_id)
    assert VERSE in (workplace / "bibles/EN_GONE/01-GEN.usfm").read_text()

    for key, command in (("report.md", "documents"), ("EN_GONE", "bible")):
        words = SPOKEN[key]
        before = quoting(databases, workplace, words)
        assert {"messages", "incidents", "event_logs", "asset_keys", "up.log"} <= set(before)
        done = CliRunner().invoke(app, [command, "erase", key, "--yes", "--json"])
        assert done.exit_code == 0, done.output
        assert quoting(databases, workplace, words) == []
        erased = json.loads(done.stdout)
        assert erased["deleted"]["vectors"] > 0
        assert any("backups" in line for line in erased["remains"])
        assert not Path(erased["source"]).exists()

    text = log.read_text()
    assert text.startswith("before\nrejected: *****")
    assert text.endswith("*.\nafter\n")
    assert "EN_GONE" not in instance.get_dynamic_partitions("bible_version")
    assert lane.count("SELECT count(*) FROM query_embeddings") == 0
    kept = quoting(databases, workplace, "ledger of the upper mill")
    assert {"document_chunks", "other.md"} <= set(kept)
    with corpus.database.connect() as connection:
        left = connection.execute(
            "SELECT document_key, count(e) FROM documents JOIN document_chunks USING (document_id)"
            " LEFT JOIN chunk_embeddings_s1 e USING (chunk_id) GROUP BY 1"
        ).fetchall()
    assert left == [("other.md", 1)]
    assert lane.count("SELECT count(*) FROM verses WHERE version_code = 'EN_GONE'") == 0

    also = erased_beside_a_sensor(documents, "other.md")
    assert (also.deleted["vectors"], also.deleted["texts"]) == (1, 1)
    assert lane.count("SELECT count(*) FROM document_chunks") == 0


def erased_beside_a_sensor(documents: DocumentLane, key: str) -> Erased:
    """Erase a document that the inbox's sensor withdraws once its file is gone."""
    corpus = documents.corpus
    documents.drop("stays.md", "# A file that stays\n")  # an empty inbox counts as not mounted
    with corpus.database.connect() as connection:
        connection.execute("UPDATE documents SET state = 'ready', lease_until = NULL")
        plan = plan_document(connection, corpus.settings, key)
    with traces_in_dagster(corpus.settings) as traces:
        return erase(corpus.database, corpus.settings, plan, traces, progress=Scanning(documents))


class Scanning(Silent):
    """Progress during which the inbox's sensor sees that the file is gone."""

    def __init__(self, documents: DocumentLane) -> None:
        self._documents: list[DocumentLane] = [documents]

    def advance(self, steps: int) -> None:
        if steps and self._documents:
            self._documents.pop().scan()
