"""The four checks of ``verse_embeddings``, each passing, and failing by a fault in the database."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pytest
from psycopg import sql

from openai_emulator.faults import Fault, FaultKind
from openai_emulator.process import Emulator
from rag_assets.vectors.quality import QUALITY_CHECKS
from rag_assets.vectors.sql.spaces import Role, register_space
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run

THIRD = sql.SQL("(SELECT verse_id FROM verses WHERE version_code = 'EN_BAD' AND verse = 3)")


@pytest.fixture
def narrow(make_lane: MakeLane) -> Lane:
    """EN_BAD and EN_GOOD, loaded, with unit vectors in spaces of 4 and 6 dimensions."""
    lane = make_lane(rag_embedding_small_dimensions=4, rag_embedding_large_dimensions=6)
    for code in ("EN_BAD", "EN_GOOD"):
        lane.drop(code, sentences(5, word=code))
        assert lane.run(code, job="bible_verses").success
    with lane.corpus.database.connect() as connection:
        vectors: dict[Role, str] = {"small": "[0,1,0,0]", "large": "[0,0,0.6,0,0,0.8]"}
        for role, vector in vectors.items():
            space = register_space(connection, lane.corpus.settings, role)
            connection.execute(
                sql.SQL(
                    """
                    INSERT INTO {} (verse_id, version_code, language, book, chapter, embedding,
                                    text_hash, run_id)
                    SELECT verse_id, version_code, 'en', book, chapter, %s, text_hash, 'test'
                      FROM verses
                    """
                ).format(space.verses_table),
                (vector,),
            )
    return lane


def run_checks(lane: Lane, code: str, names: Sequence[str] = tuple(QUALITY_CHECKS)) -> Run:
    """Run the checks alone, as the UI's button does: the partition is a tag of the run."""
    keys = [dg.AssetCheckKey(dg.AssetKey("verse_embeddings"), name) for name in names]
    job = dg.define_asset_job("only_checks", selection=dg.AssetSelection.checks(*keys))
    defs = dg.Definitions.merge(lane.defs(), dg.Definitions(jobs=[job]))
    return Run(
        defs.resolve_job_def("only_checks").execute_in_process(
            tags={"dagster/partition": code}, instance=lane.instance, raise_on_error=False
        )
    )


def break_it(lane: Lane, *statements: str) -> None:
    """Corrupt the tables; ``{third}`` is EN_BAD's third verse."""
    with lane.corpus.database.connect() as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(third=THIRD))


def test_the_four_checks_pass_on_a_correct_version(narrow: Lane) -> None:
    run = run_checks(narrow, "EN_GOOD")
    assert run.success
    found = run.checks()
    assert list(QUALITY_CHECKS) == [
        "dimension_consistency",
        "completeness",
        "freshness",
        "finite_and_normalised",
    ]
    assert set(found) == set(QUALITY_CHECKS)
    for check in found.values():
        assert check.passed
        assert check.blocking
        assert check.severity is dg.AssetCheckSeverity.ERROR
        assert check.partition == "EN_GOOD"
        told = {label: value.value for label, value in check.metadata.items()}
        assert (told["verses_small"], told["embedded_small"]) == (5, 5)
        assert (told["verses_large"], told["embedded_large"]) == (5, 5)
        assert told["space_small"] == "openai/text-embedding-3-small halfvec(4)"
        assert told["examples"] == ""


@pytest.mark.parametrize(
    ("check", "statements", "description", "example"),
    [
        (
            "dimension_consistency",
            [
                "DROP VIEW verse_embeddings",
                "ALTER TABLE verse_embeddings_s1 ALTER COLUMN embedding TYPE halfvec",
                "UPDATE verse_embeddings_s1 SET embedding = '[0,1]' WHERE verse_id = {third}",
            ],
            "small: 1 vectors of text-embedding-3-small have another dimension than 4",
            "small: GEN 1:3: dimension 2",
        ),
        (
            "completeness",
            ["DELETE FROM verse_embeddings_s1 WHERE verse_id = {third}"],
            "small: 1 of 5 verses have no vector in openai/text-embedding-3-small halfvec(4)",
            "small: GEN 1:3: no vector",
        ),
        (
            "completeness",
            ["DELETE FROM verse_embeddings_s2 WHERE verse_id = {third}"],
            "large: 1 of 5 verses have no vector in openai/text-embedding-3-large halfvec(6)",
            "large: GEN 1:3: no vector",
        ),
        (
            "freshness",
            ["UPDATE verse_embeddings_s2 SET text_hash = '\\x00' WHERE verse_id = {third}"],
            "large: 1 vectors belong to an earlier text: materialize verse_embeddings",
            "large: GEN 1:3: vector of an earlier text",
        ),
        (
            "finite_and_normalised",
            ["UPDATE verse_embeddings_s1 SET embedding = '[0,0,0,0]' WHERE verse_id = {third}"],
            "small: 1 vectors are not finite or not of norm 1",
            "small: GEN 1:3: norm 0.0000",
        ),
        (
            "finite_and_normalised",
            ["UPDATE verse_embeddings_s1 SET embedding = '[0,1.1,0,0]' WHERE verse_id = {third}"],
            "small: 1 vectors are not finite or not of norm 1",
            "small: GEN 1:3: norm 1.0996",
        ),
    ],
)
def test_each_check_fails_alone_by_its_own_fault_and_names_the_row(
    narrow: Lane, check: str, statements: list[str], description: str, example: str
) -> None:
    break_it(narrow, *statements)
    run = run_checks(narrow, "EN_BAD")
    assert not run.success  # blocking, of severity ERROR
    assert run.failed_checks() == [check]
    failed = run.checks()[check]
    assert failed.description is not None
    assert failed.description.startswith(description)
    assert example in failed.description
    assert failed.metadata["examples"].value == f"- {example}"
    assert failed.severity is dg.AssetCheckSeverity.ERROR
    assert failed.partition == "EN_BAD"

    assert run_checks(narrow, "EN_GOOD").failed_checks() == []
    assert statuses(narrow, check, "EN_BAD")[0] == "FAILED"
    assert statuses(narrow, check, "EN_GOOD") == ["SUCCEEDED"]


def test_a_single_check_can_be_run(narrow: Lane) -> None:
    break_it(narrow, "DELETE FROM verse_embeddings_s1 WHERE verse_id = {third}")
    run = run_checks(narrow, "EN_BAD", ["freshness"])
    assert run.success
    assert list(run.checks()) == ["freshness"]


def test_nothing_embedded_is_a_failure_of_every_check(lane: Lane) -> None:
    lane.drop("EN_BAD", sentences(2))
    lane.run("EN_BAD", job="bible_verses")
    run = run_checks(lane, "EN_BAD")
    assert run.failed_checks() == sorted(QUALITY_CHECKS)
    for check in run.checks().values():
        assert check.description == "no vector was ever stored in the small space"


def test_materializing_again_repairs_a_version_and_its_checks(narrow: Lane) -> None:
    break_it(
        narrow,
        "DELETE FROM verse_embeddings_s1 WHERE verse_id = {third}",
        "UPDATE verse_embeddings_s2 SET text_hash = '\\x00' WHERE verse_id = {third}",
    )
    assert run_checks(narrow, "EN_BAD").failed_checks() == ["completeness", "freshness"]
    healed = narrow.run("EN_BAD")
    assert healed.success
    assert healed.metadata("verse_embeddings")["embedded"] == 2
    assert run_checks(narrow, "EN_BAD").failed_checks() == []


@pytest.mark.parametrize("order", [("EN_BAD", "EN_GOOD"), ("EN_GOOD", "EN_BAD")])
def test_a_bad_partition_stops_its_downstream_and_does_not_affect_the_good_one(
    lane: Lane, emulator: Emulator, order: tuple[str, str]
) -> None:
    @dg.asset(deps=["verse_embeddings"], partitions_def=bible_versions_of(lane))
    def served() -> None:
        """A downstream asset that requires valid vectors."""

    selection = dg.AssetSelection.assets("verses", "verse_embeddings", "served")
    job = dg.define_asset_job("all_of_it", selection=selection)
    defs = dg.Definitions.merge(lane.defs(), dg.Definitions(assets=[served], jobs=[job]))
    lane.drop("EN_GOOD", sentences(3))
    lane.drop("EN_BAD", [*sentences(3, word="stream"), "a poisoned text"])
    emulator.order(Fault(FaultKind.POISON, text="poisoned"))
    runs = {
        code: Run(
            defs.resolve_job_def("all_of_it").execute_in_process(
                partition_key=code, instance=lane.instance, raise_on_error=False
            )
        )
        for code in order
    }
    assert runs["EN_BAD"].failed_checks() == ["completeness"]
    assert runs["EN_BAD"].materialized() == ["verses", "verse_embeddings"]
    assert runs["EN_GOOD"].failed_checks() == []
    assert runs["EN_GOOD"].materialized() == ["verses", "verse_embeddings", "served"]
    assert statuses(lane, "completeness", "EN_BAD") == ["FAILED"]
    assert statuses(lane, "completeness", "EN_GOOD") == ["SUCCEEDED"]


def bible_versions_of(lane: Lane) -> dg.PartitionsDefinition[str]:
    """The partitions of the deployed asset."""
    found = lane.defs().resolve_asset_graph().get(dg.AssetKey("verse_embeddings")).partitions_def
    assert found is not None
    return found


def statuses(lane: Lane, check: str, code: str) -> list[str]:
    """What Dagster keeps of a check on one partition, newest first."""
    key = dg.AssetCheckKey(dg.AssetKey("verse_embeddings"), check)
    history = lane.instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    return [record.status.value for record in history if record.partition == code]
