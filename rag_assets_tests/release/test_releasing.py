"""Release, refusal, activation, rollback: one active release, switched as a whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from rag_assets.errors import ConfigurationError, GateRefusedError
from rag_assets.index.checks import INDEX_CHECKS
from rag_assets.postgres.database import Database
from rag_assets.release.releasing import activate, evaluate_gate, release, roll_back
from rag_assets.release.sql.releases import release_by_id
from rag_assets.vectors.sql.served import CHANNEL, active_release
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences
from rag_assets_tests.release.corpus import (
    LISTS,
    active_number,
    check,
    embed,
    index,
    indexed_generations,
    judge,
    prepare,
    release_corpus,
    release_settings,
    states,
    tamper,
)
from rag_assets_tests.searches import ask


def test_a_release_is_active_with_everything_that_was_judged(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1)
    embed(database, settings, "EN_A", sentences(60), roles=("small", "large"))
    check(database, settings, "EN_A")
    outcome = index(database, settings)
    assert outcome.generation is not None
    done = release_corpus(database, settings)
    assert done.before is None
    made = done.release
    assert (made.state, made.versions, made.reasons) == ("active", ("EN_A",), ())
    assert (made.previous_id, made.run_id) == (None, "release")
    assert made.activated_at is not None
    small, large = made.space("bible", "small"), made.space("bible", "large")
    assert small is not None
    assert (small.generation, small.probes) == (
        outcome.generation.number,
        outcome.generation.probes,
    )
    assert large is not None
    assert large.generation is None
    assert active_number(database) == made.release_id


def test_the_manifest_records_what_was_known_at_the_release(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1, rag_recall_floor=0.9)
    prepare(database, settings)
    load_version(database, "EN_LATER", sentences(2, word="later"))
    manifest = release_corpus(database, settings).release.manifest
    assert manifest["content"]["versions"]["EN_A"]["rows"] == 60
    (space,) = manifest["content"]["spaces"]
    assert space["space"] == "offline/lexical-char-ngrams-v1 halfvec(64)"
    assert manifest["left_out"] == {"EN_LATER": "not embedded yet"}
    index_told = manifest["index"]
    assert (index_told["decision"], index_told["lists"]) == ("build", LISTS)
    assert index_told["reasons"]
    assert set(index_told["figures"]) == set(INDEX_CHECKS)
    assert index_told["probes"]["plain"] >= 1
    assert {result["check"] for result in manifest["checks"]} == {
        "completeness",
        "dimension_consistency",
        "finite_and_normalised",
        "freshness",
    }
    assert all(result["passed"] and result["revision"] for result in manifest["checks"])
    assert manifest["limits"] == {
        "recall_floor": 0.9,
        "slo_p95_ms": 60_000.0,
        "slo_concurrency": 8,
        "evidence_max_age_h": 168.0,
    }


def test_releasing_the_same_content_again_makes_no_new_release(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    first = release_corpus(database, settings)
    check(database, settings, "EN_A")
    judge(database, settings)
    again = release_corpus(database, settings)
    assert again.verdict.unchanged
    assert again.release == again.before == first.release
    assert states(database) == [(1, "active")]


def test_a_new_release_replaces_the_active_one(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    release_corpus(database, settings)
    prepare(database, settings, "EN_B")
    second = release_corpus(database, settings)
    assert second.release.versions == ("EN_A", "EN_B")
    assert second.release.previous_id == 1
    assert second.before is not None
    assert second.before.release_id == 1
    assert states(database) == [(1, "superseded"), (2, "active")]
    with database.connect() as connection:
        before = release_by_id(connection, 1)
    assert before is not None
    assert before.ended_at == second.release.activated_at


@pytest.mark.parametrize("spoil", ["failed", "never checked", "changed since", "index undecided"])
def test_a_refusal_is_recorded_with_its_reasons_and_changes_nothing_served(
    database: Database, make_settings: MakeSettings, spoil: str
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    release_corpus(database, settings)
    before = ask(database, settings, "The EN_A number 3 runs down to the sea")
    with database.connect() as connection:
        roles = connection.execute("SELECT * FROM embedding_roles ORDER BY 1").fetchall()

    embed(database, settings, "EN_B", sentences(20, word="stream"))
    if spoil != "never checked":
        if spoil == "failed":
            tamper(database, settings, "EN_B")
        check(database, settings, "EN_B")
    if spoil != "index undecided":
        index(database, settings)
    if spoil == "changed since":
        load_version(database, "EN_B", ["In the beginning", *sentences(20, word="stream")[1:]])
    with pytest.raises(GateRefusedError) as refused:
        release_corpus(database, settings)
    assert states(database) == [(1, "active"), (2, "refused")]
    with database.connect() as connection:
        kept = release_by_id(connection, 2)
        assert kept is not None
        now = connection.execute("SELECT * FROM embedding_roles ORDER BY 1").fetchall()
    assert kept.reasons == refused.value.reasons
    assert kept.reasons
    assert all(reason in str(refused.value) for reason in kept.reasons)
    assert (kept.spaces, kept.activated_at, kept.previous_id) == ((), None, None)
    assert now == roles
    after = ask(database, settings, "The EN_A number 3 runs down to the sea")
    assert (after.release_id, after.hits) == (1, before.hits)


def test_a_refused_first_release_leaves_nothing_to_serve(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    with pytest.raises(GateRefusedError, match="nothing is embedded with the settings' model"):
        release_corpus(database, settings)
    assert states(database) == [(1, "refused")]
    assert active_number(database) is None
    with pytest.raises(ConfigurationError, match="nothing is released, so there is nothing"):
        roll_back(database)


def test_a_failing_version_is_left_out_only_on_request(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    prepare(database, settings, "EN_B")
    tamper(database, settings, "EN_B")
    check(database, settings, "EN_B")
    index(database, settings)
    with pytest.raises(GateRefusedError, match="EN_B: finite_and_normalised: small: 1 vectors"):
        release_corpus(database, settings)
    by_setting = release_settings(make_settings, rag_release_leave_out_failing=True)
    with database.connect() as connection:
        assert evaluate_gate(connection, by_setting)[1].versions == ("EN_A",)
        assert not evaluate_gate(connection, by_setting, leave_out_failing=False)[1].passed
    done = release_corpus(database, settings, leave_out=True)
    assert done.release.versions == ("EN_A",)
    assert list(done.release.manifest["left_out"]) == ["EN_B"]
    found = ask(database, settings, "The EN_B number 3 runs down to the sea")
    assert {hit.version for hit in found.hits} == {"EN_A"}


def test_two_concurrent_releases_make_one_release(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    start = Barrier(2)

    def work(_: int) -> int:
        start.wait()
        return release_corpus(database, settings).release.release_id

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, range(2))) == [1, 1]
    assert states(database) == [(1, "active")]


def test_a_concurrent_release_and_rollback_leave_one_active(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    for code in ("EN_A", "EN_B"):
        prepare(database, settings, code)
        release_corpus(database, settings)
    prepare(database, settings, "EN_C")
    start = Barrier(2)

    def forward() -> int:
        start.wait()
        return release_corpus(database, settings, after_rollback=True).release.release_id

    def back() -> int:
        start.wait()
        return roll_back(database)[0].release_id

    with ThreadPoolExecutor(2) as threads:
        made, brought_back = threads.submit(forward), threads.submit(back)
    assert made.result() == 3
    assert brought_back.result() in (1, 2)
    assert [state for _, state in states(database)].count("active") == 1


def test_each_switch_notifies_listeners(database: Database, make_settings: MakeSettings) -> None:
    settings = release_settings(make_settings)
    with database.connect(autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        prepare(database, settings)
        release_corpus(database, settings)
        prepare(database, settings, "EN_B")
        tamper(database, settings, "EN_B")
        check(database, settings, "EN_B")
        index(database, settings)
        with pytest.raises(GateRefusedError):
            release_corpus(database, settings)
        release_corpus(database, settings, leave_out=True)  # exactly what is already served
        embed(database, settings, "EN_A", sentences(9))
        check(database, settings, "EN_A")
        index(database, settings)
        release_corpus(database, settings, leave_out=True)
        roll_back(database)
        heard = [note.payload for note in listener.notifies(timeout=10, stop_after=3)]
        assert heard == ["1", "3", "1"]
        assert list(listener.notifies(timeout=0)) == []


@pytest.mark.slow
def test_rolling_back_twice_goes_back_two_releases_and_a_third_time_fails(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1)
    made = []
    for code in ("EN_A", "EN_B", "EN_C"):
        prepare(database, settings, code, force=True)
        made.append(release_corpus(database, settings).release)
    first, second, third = made
    assert third.versions == ("EN_A", "EN_B", "EN_C")

    now, before = roll_back(database)
    assert before == third
    assert (now.release_id, now.versions, now.spaces) == (2, ("EN_A", "EN_B"), second.spaces)
    assert states(database) == [(1, "superseded"), (2, "active"), (3, "rolled_back")]
    found = ask(database, settings, "The EN_C number 3 runs down to the sea")
    assert (found.release_id, found.plan.generation) == (2, 2)
    assert {hit.version for hit in found.hits} <= {"EN_A", "EN_B"}

    now, before = roll_back(database)
    assert before.release_id == 2
    assert (now.release_id, now.versions, now.spaces) == (1, ("EN_A",), first.spaces)
    assert ask(database, settings, "The EN_C number 3 runs").plan.generation == 1

    with pytest.raises(ConfigurationError, match="release 1 is the first: none before it"):
        roll_back(database)
    assert active_number(database) == 1


def test_a_rolled_back_release_is_released_again_only_on_request(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    for code in ("EN_A", "EN_B"):
        prepare(database, settings, code)
        release_corpus(database, settings)
    roll_back(database)
    prepare(database, settings, "EN_C")
    with pytest.raises(GateRefusedError, match="rag-assets release activate 2"):
        release_corpus(database, settings)
    assert active_number(database) == 1
    now, before = activate(database, 2)
    assert before is not None
    assert (now.release_id, before.release_id) == (2, 1)
    assert release_corpus(database, settings).release.release_id == 4, "3 is the refusal"
    assert roll_back(database)[0].release_id == 2
    made = release_corpus(database, settings, after_rollback=True)
    assert made.release.release_id == 5
    prepare(database, settings, "EN_D")
    assert release_corpus(database, settings).release.release_id == 6, "it holds no longer"


def test_an_earlier_release_can_be_activated_and_rolled_back(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings)
    for code in ("EN_A", "EN_B", "EN_C"):
        prepare(database, settings, code)
        release_corpus(database, settings)
    now, before = activate(database, 1)
    assert before is not None
    assert (now.release_id, now.previous_id, before.release_id) == (1, 3, 3)
    assert states(database) == [(1, "active"), (2, "superseded"), (3, "superseded")]
    assert ask(database, settings, "river").release_id == 1
    assert activate(database, 1) == (now, now)
    assert roll_back(database)[0].release_id == 3


@pytest.mark.parametrize("release_id", [2, 99])
def test_a_refused_or_unknown_release_cannot_be_activated(
    database: Database, make_settings: MakeSettings, release_id: int
) -> None:
    settings = release_settings(make_settings)
    prepare(database, settings)
    release_corpus(database, settings)
    tamper(database, settings, "EN_A")
    check(database, settings, "EN_A")
    index(database, settings)
    with pytest.raises(GateRefusedError):
        release_corpus(database, settings)
    refused = "release 2 was refused: EN_A: finite_and_normalised" if release_id == 2 else None
    with pytest.raises(ConfigurationError, match=refused or "there is no release 99"):
        activate(database, release_id)
    assert active_number(database) == 1


@pytest.mark.slow
def test_indexes_of_kept_releases_are_kept_and_others_dropped(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1, rag_releases_kept=1)
    for code in ("EN_A", "EN_B", "EN_C"):
        prepare(database, settings, code, force=True)
        release_corpus(database, settings)
    assert indexed_generations(database) == [1, 2, 3]
    assert index(database, settings).dropped == (1,)
    assert indexed_generations(database) == [2, 3]

    for number in (1, 2, 3):
        with database.connect() as connection:
            active = active_release(connection)
        assert active is not None
        if number != 1:
            assert activate(database, number)[0].release_id == number
            continue
        with pytest.raises(ConfigurationError, match="generation 1, which is not kept any more"):
            activate(database, number)
        assert active_number(database) == active.release_id
    assert roll_back(database)[0].release_id == 2
    assert roll_back(database)[0].release_id == 3  # the one active before 2 was activated by hand


@pytest.mark.slow
def test_a_rollback_beyond_the_kept_releases_is_refused_and_changes_nothing(
    database: Database, make_settings: MakeSettings
) -> None:
    settings = release_settings(make_settings, rag_index_min_rows=1, rag_releases_kept=1)
    for code in ("EN_A", "EN_B", "EN_C"):
        prepare(database, settings, code, force=True)
        release_corpus(database, settings)
    index(database, settings)
    assert roll_back(database)[0].release_id == 2
    with pytest.raises(ConfigurationError, match="build and release again"):
        roll_back(database)
    assert active_number(database) == 2
    assert ask(database, settings, "river").plan.generation == 2


def test_what_is_automatic_never_changes_the_model_either_way(
    database: Database, make_settings: MakeSettings
) -> None:
    """A daemon that still has the settings of before would bring the old model back."""
    old = release_settings(make_settings)
    new = release_settings(make_settings, rag_embedding_small_dimensions=80)
    prepare(database, old)
    release_corpus(database, old)
    embed(database, new, "EN_A")
    check(database, new, "EN_A")
    index(database, new)
    kept = release(database, new, run_id="automation", keep_model=True)
    assert (kept.release.release_id, kept.release.state) == (1, "active")
    assert release_corpus(database, new).release.release_id == 2
    prepare(database, old, "EN_B", sentences(5))
    check(database, old, "EN_A")
    index(database, old)
    kept = release(database, old, run_id="automation", keep_model=True)
    assert kept.release.release_id == active_number(database) == 2
    assert states(database) == [(1, "superseded"), (2, "active")]
