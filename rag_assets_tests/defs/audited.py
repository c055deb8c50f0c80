"""A small corpus for audits: two versions, three documents, codes, a release, and partitions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import dagster as dg
from psycopg import sql
from pydantic import SecretStr

from rag_assets.audit.compare import Request, audit
from rag_assets.audit.model import AuditReport
from rag_assets.audit.repair import Status, repair
from rag_assets.defs.documents.partitions import DOCUMENTS
from rag_assets.defs.operations.partition_status import correct_partitions, untrue_partitions
from rag_assets.defs.resources import CorpusResource
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress, Silent
from rag_assets.settings.model import Settings
from rag_assets.vectors.codes import Recipe
from rag_assets.vectors.sql.code_sets import create
from rag_assets.vectors.sql.code_writing import fill
from rag_assets.vectors.sql.tables import CORPORA, VectorTable, bible_table
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane
from rag_assets_tests.defs.document_lane import DocumentLane
from rag_assets_tests.release.corpus import check, index, release_corpus
from rag_assets_tests.vectors.vectors import space_of

VERSIONS = {"EN_A": 40, "PT_B": 30}
NAMES = ("one.md", "two.md", "three.md")
_BOOKKEEPING = {"audits", "embedding_ledger", "vector_changes", "vector_revisions",
                "ended_runs", "run_totals", "provider_limits"}  # fmt: skip
"""Tables that count what was done, and so grow with every audit."""
_WRITTEN = {"run_id", "created_at"}
"""Columns of vectors that say which run wrote them."""


@dataclass(frozen=True)
class Audited:
    """The corpus, and what an operator and an audit do with it."""

    corpus: CorpusResource
    instance: dg.DagsterInstance

    @property
    def database(self) -> Database:
        return self.corpus.database

    @property
    def settings(self) -> Settings:
        return self.corpus.settings

    @property
    def status(self) -> Status:
        """As the command and the asset compare partitions."""
        return Status(
            compare=lambda versions: untrue_partitions(self.instance, self.database, versions),
            correct=lambda found: correct_partitions(
                self.instance, self.database, self.settings, found
            ),
        )

    def audit(self, *, read_versions: bool = True) -> AuditReport:
        return audit(
            self.database,
            self.settings,
            Request(100, read_versions=read_versions, keep_answers=True),
            run_id="audit",
            partitions=self.status.compare,
        )

    def repair(self, report: AuditReport, progress: Progress | None = None) -> AuditReport:
        return repair(
            self.database, self.settings, report, run_id="repair", status=self.status,
            progress=progress,
        )  # fmt: skip

    def kinds(self, report: AuditReport) -> dict[str, int]:
        """The number of differences by kind."""
        found: dict[str, int] = {}
        for one in report.differences:
            found[one.kind] = found.get(one.kind, 0) + one.count
        return found

    def small_table(self) -> VectorTable:
        """The verse vectors of the small space."""
        return bible_table(space_of(self.database, self.settings))

    def run(self, *statements: str) -> None:
        """What an operator does with psql, in one transaction; FIRST is the first verse's id."""
        first = "(SELECT min(verse_id) FROM verses WHERE version_code = 'EN_A')"
        with self.database.connect() as connection:
            for statement in statements:
                connection.execute(statement.replace("FIRST", first).encode())

    def digests(self) -> dict[str, str]:
        """A checksum of each table, but for what tells who wrote a row."""
        with self.database.connect() as connection:
            names = [
                row[0]
                for row in connection.execute(
                    "SELECT relname FROM pg_class WHERE relkind = 'r'"
                    " AND relnamespace = 'public'::regnamespace"
                )
                if row[0] not in _BOOKKEEPING
            ]
            digests = {}
            for name in names:
                left_out = list(_WRITTEN) if "embeddings_s" in name else []
                row = connection.execute(
                    sql.SQL(
                        "SELECT md5(coalesce(string_agg(row, '|' ORDER BY row), '')) FROM"
                        " (SELECT (to_jsonb(t) - %s::text[])::text AS row FROM {} t) AS rows"
                    ).format(sql.Identifier(name)),
                    (left_out,),
                ).fetchone()
                assert row is not None
                digests[name] = row[0]
        return digests

    def changed(self, before: Mapping[str, str]) -> set[str]:
        """Tables whose contents differ from those of these checksums."""
        return {name for name, digest in self.digests().items() if before.get(name) != digest}

    def shown(self) -> dict[str, set[str]]:
        """Materialized partitions by asset."""
        names = ("verses", "verse_embeddings", "document_chunks", "document_embeddings")
        return {
            name: self.instance.get_materialized_partitions(dg.AssetKey(name)) for name in names
        }


def build(database: Database, settings: Settings, instance: dg.DagsterInstance) -> Audited:
    """Load, embed, encode, index and release, through the deployed definitions."""
    corpus = CorpusResource(settings, database)
    lane, documents = Lane(corpus, instance), DocumentLane(corpus, instance)
    for code, count in VERSIONS.items():
        lane.drop(code, sentences(count, word=code.lower()))
        assert lane.run(code).success
    shutil.rmtree(lane.bibles_dir / "PT_B")  # reading a version takes a process
    for name in NAMES:
        documents.drop(name, f"# {name}\n\n" + " ".join(sentences(3, word=name)))
    for run in documents.work():
        assert run.success
    with database.connect() as connection:  # a space of another model, with vectors of its own
        connection.execute("SELECT create_embedding_space('openai', 'another', 64, 'halfvec')")
        connection.execute(
            "INSERT INTO verse_embeddings_s2 SELECT verse_id, version_code, language, book,"
            " chapter, (array_fill(-1::real, '{64}')::vector * embedding::vector)::halfvec,"
            " text_hash, run_id FROM verse_embeddings_s1"
        )
    check(database, settings, *VERSIONS)
    index(database, settings)
    release_corpus(database, settings)
    space = space_of(database, settings)
    for name in CORPORA:
        table = VectorTable(name, space)
        with database.connect(autocommit=True) as session:
            recipe = Recipe(space.spec.dimensions, 128)
            made = create(session, table, recipe, measured={}, run_id="codes")
            fill(session, table, made, progress=Silent())
    return Audited(corpus, instance)


@contextmanager
def copied(built: Audited, name: str) -> Iterator[Audited]:
    """The corpus in a database of its own, on the same partitions and files."""
    with built.database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {built.database.name}")
    copy = built.database.named(name)
    settings = built.settings.model_copy(update={"rag_database_url": SecretStr(copy.conninfo)})
    yield Audited(replace(built.corpus, database=copy, settings=settings), built.instance)
    with built.database.named("postgres").connect(autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def show_untrue_partitions(one: Audited) -> None:
    """In the UI: delete a run, and report a document by hand that does not exist."""
    for run in one.instance.get_runs():
        if run.job_name == "document_processing":
            one.instance.delete_run(run.run_id)
    one.instance.add_dynamic_partitions(DOCUMENTS, ["ghost.md"])
    by_hand = dg.AssetMaterialization("document_chunks", partition="ghost.md")
    one.instance.report_runless_asset_event(by_hand)
