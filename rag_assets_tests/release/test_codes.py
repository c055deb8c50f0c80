"""Codes across releases and rollbacks, with an index from before codes existed."""

from __future__ import annotations

import pytest
from psycopg.errors import RaiseException

from rag_assets.cli.release import _describe, _flat
from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.operations.sql.vector_metrics import checks_now
from rag_assets.operations.survey import survey
from rag_assets.postgres.database import Database, one
from rag_assets.release.releasing import evaluate_gate, roll_back
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql import code_sets
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import sentences
from rag_assets_tests.release.corpus import (
    LIVING,
    index,
    index_of_name,
    prepare,
    release_corpus,
    release_settings,
    table_of,
)
from rag_assets_tests.searches import ask
from rag_assets_tests.vectors.other_clients import run

WANTED = sentences(60, word="EN_A")[7]


@pytest.fixture
def before(make_settings: MakeSettings) -> Settings:
    """Settings for a release with an index over the vectors."""
    return release_settings(make_settings, rag_index_min_rows=1)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """Settings with codes, and no index at this size."""
    return release_settings(make_settings, rag_code_bits=None)


def sets(database: Database, settings: Settings) -> list[int]:
    table = table_of(database, settings)
    with database.connect() as connection:
        return [made.number for made in code_sets.code_sets(connection, table)]


def codes_of(database: Database) -> str:
    """One hash over every code with its verse and position."""
    with database.connect() as connection:
        (found,) = one(
            connection.execute(
                "SELECT md5(string_agg(verse_id || book || chapter || code, ' '"
                " ORDER BY verse_id)) FROM verse_codes_c1"
            )
        )
    return str(found)


def test_a_release_is_searched_by_its_codes(database: Database, settings: Settings) -> None:
    prepare(database, settings)
    released = release_corpus(database, settings)
    assert released.release is not None
    (space,) = released.release.spaces
    assert (space.generation, space.codes is not None) == (None, True)
    found = ask(database, settings, WANTED)
    assert found.plan.kind == "codes"
    assert found.hits[0].text == WANTED


def test_a_release_from_before_codes_still_serves_and_can_be_restored(
    database: Database, before: Settings, settings: Settings
) -> None:
    prepare(database, before)
    release_corpus(database, before)
    index(database, settings)
    assert ask(database, settings, WANTED).plan.kind == "ivfflat"
    release_corpus(database, settings)
    assert ask(database, settings, WANTED).plan.kind == "codes"
    roll_back(database)
    found = ask(database, settings, WANTED)
    assert (found.plan.kind, found.plan.codes) == ("ivfflat", None)
    assert found.hits[0].text == WANTED
    assert sets(database, settings) == [1]


def test_an_index_over_codes_has_the_well_known_name(
    database: Database, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag_assets.index.policy.SCAN_P95_MS", 0.0)
    settings = release_settings(make_settings, rag_code_bits=None, rag_index_min_rows=1)
    prepare(database, settings)
    released = release_corpus(database, settings)
    assert released.release is not None
    (space,) = released.release.spaces
    assert space.codes is not None
    assert index_of_name(database) == ("verse_codes_c1", space.generation)
    assert index_of_name(database, LIVING) == index_of_name(database)
    assert ask(database, settings, WANTED).hits[0].text == WANTED


def test_codes_of_kept_releases_stay_and_others_are_dropped(
    database: Database, make_settings: MakeSettings, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    for bits, before_release in ((256, [1, 2]), (128, [1, 2, 3])):
        other = release_settings(make_settings, rag_code_bits=bits, rag_releases_kept=1)
        index(database, other)
        assert sets(database, settings) == before_release
        release_corpus(database, other)
        assert ask(database, other, WANTED).hits[0].text == WANTED
    index(database, other)
    assert sets(database, settings) == [2, 3]


def test_the_gate_detects_codes_that_another_client_deleted_until_they_are_restored(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    release_corpus(database, settings)
    assert run(database, "DELETE FROM verse_codes_c1 WHERE verse_id % 10 = 3") == 6
    with database.connect() as connection:
        _, verdict = evaluate_gate(connection, settings)
    assert [str(reason) for reason in verdict.reasons] == [
        "index: index_valid_and_used: 6 vectors have no code, so that no search finds them"
    ]
    index(database, settings)
    with database.connect() as connection:
        _, verdict = evaluate_gate(connection, settings)
    assert verdict.reasons == ()


def test_codes_that_another_client_writes_are_refused(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    run(database, "CREATE TABLE theirs AS SELECT * FROM verse_codes_c1")
    before = codes_of(database)
    for statement in (
        "UPDATE verse_codes_c1 SET code = ~code, book = 'REV'",
        "INSERT INTO verse_codes_c1 SELECT * FROM theirs",
    ):
        with pytest.raises(RaiseException, match="codes are written by rag-assets only"):
            run(database, statement)
    assert codes_of(database) == before


def test_release_and_doctor_report_that_codes_are_scanned(
    database: Database, settings: Settings
) -> None:
    prepare(database, settings)
    released = release_corpus(database, settings).release
    assert released is not None
    assert _describe(released)["searched"] == "code set 1"
    flat = _flat(released.manifest["content"])
    assert flat["bible small: index generation"] == "none: code set 1"
    corpus = survey(settings).corpus
    assert corpus is not None
    assert [(made.generation, made.code_set) for made in corpus.indexes] == [(None, 1)]


def test_checks_of_codes_are_among_the_metrics(database: Database, settings: Settings) -> None:
    prepare(database, settings)
    with database.connect() as connection:
        found = {(known.subject, known.check) for known in checks_now(connection, settings)}
    assert {check for subject, check in found if subject == "code set 1"} == set(INDEX_CHECKS)
