"""A backfill window starts versions in order, within its budget, and none twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.bible.embed_verses import EmbedOptions
from rag_assets.bible.embed_versions import embed_spaces
from rag_assets.bible.quality import complete_versions, version_quality
from rag_assets.documents.sql.lanes import pause_lane
from rag_assets.operations.backfill import (
    Budget,
    Candidate,
    WindowChoice,
    WindowRun,
    candidates,
    choose_now,
    choose_versions,
    committed,
    in_order,
)
from rag_assets.operations.backfill_documents import requeue_documents
from rag_assets.operations.sql.backfill import documents_cost
from rag_assets.operations.windows import Window
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.quality import QUALITY_CHECKS, keep_evidence
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import load_version, sentences, write_usfm_version
from rag_assets_tests.documents.queued import make_ready, state
from rag_assets_tests.vectors.vectors import space_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
WINDOW = Window(NOON - timedelta(hours=1), NOON + timedelta(hours=5))
WHOLE = Budget(usd=5, minutes=360)


def version(code: str, usd: float = 1, minutes: float = 10) -> Candidate:
    return Candidate(code, rows=100, cost_usd=usd, minutes=minutes)


def started(choice: WindowChoice) -> list[str]:
    return [one.code for one in choice.start]


@pytest.mark.parametrize(
    ("order", "codes"),
    [
        ("PT_*,EN_*,*", ["PT_A", "PT_B", "EN_A", "EN_B", "DE_A"]),
        ("*", ["DE_A", "EN_A", "EN_B", "PT_A", "PT_B"]),
        ("EN_B, PT_*", ["EN_B", "PT_A", "PT_B"]),  # the others are not for the backfill
        ("??_A,*", ["DE_A", "EN_A", "PT_A", "EN_B", "PT_B"]),
        ("", []),
    ],
)
def test_versions_are_ordered_by_their_first_matching_pattern_then_by_code(
    order: str, codes: list[str]
) -> None:
    assert list(in_order(["PT_B", "EN_B", "DE_A", "EN_A", "PT_A"], order)) == codes


@pytest.mark.parametrize(
    ("versions", "left", "room", "codes", "held"),
    [
        ([version("A"), version("B")], WHOLE, None, ["A", "B"], None),
        (
            [version("A"), version("B"), version("C")],
            WHOLE,
            2,
            ["A", "B"],
            "C waits: the maximum number of",
        ),
        ([version("A"), Candidate("B"), version("C")], WHOLE, 2, ["A", "C"], None),
        # B is too dear for what is left: C is cheap, and does not overtake it.
        (
            [version("A", 1), version("B", 4.5), version("C", 0.1)],
            WHOLE,
            None,
            ["A"],
            "B waits: it would cost about $4.5000, $4.0000 are left",
        ),
        (
            [version("A", minutes=20), version("B", minutes=15)],
            Budget(5, 30),
            None,
            ["A"],
            "B waits: it would take about 15 min, 10 are left",
        ),
        ([version("A")], Budget(0, 360), None, [], "A waits: it would cost"),
        ([version("A", 0)], Budget(-1, 360), None, [], "A waits: it would cost"),
        ([version("A", 0), version("B", 5)], WHOLE, None, ["A", "B"], None),  # all of the budget
        ([], WHOLE, None, [], None),
    ],
)
def test_versions_are_started_in_order_while_they_fit(
    versions: list[Candidate],
    left: Budget,
    room: int | None,
    codes: list[str],
    held: str | None,
) -> None:
    choice = choose_versions(versions, left=left, whole=WHOLE, room=room)
    assert started(choice) == codes
    assert (choice.held or "").startswith(held or "")
    assert (choice.held is None) == (held is None)
    # What waits for money or time is not started in this window; what waits for a run is.
    assert choice.due == (bool(codes) or room is not None)


def test_versions_too_large_or_unreadable_do_not_block_the_others() -> None:
    choice = choose_versions(
        [
            version("DEAR", usd=5.1),
            version("SLOW", minutes=361),
            Candidate("BROKEN", problem="01-GEN.usfm:3: no text"),
            version("GOOD"),
        ],
        left=WHOLE,
        whole=WHOLE,
    )
    assert started(choice) == ["GOOD"]
    assert choice.held is None
    dear, slow, broken = choice.passed_over
    assert "RAG_BACKFILL_BUDGET_USD" in dear
    assert "`rag-assets bible embed DEAR`" in dear
    assert "RAG_BACKFILL_HOURS" in slow
    assert broken == "BROKEN is passed over: 01-GEN.usfm:3: no text"


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        code=st.text("ABC", min_size=3, max_size=3),
        rows=st.integers(0, 3),
        cost_usd=st.floats(0, 8),
        minutes=st.floats(0, 400),
        problem=st.none() | st.just("cannot be read"),
    )
)


@given(
    CANDIDATES,
    st.builds(Budget, usd=st.floats(-1, 5), minutes=st.floats(0, 360)),
    st.none() | st.integers(0, 3),
)
def test_the_budget_is_never_exceeded_and_no_version_overtakes(
    versions: list[Candidate], left: Budget, room: int | None
) -> None:
    choice = choose_versions(versions, left=left, whole=WHOLE, room=room)
    assert sum(one.cost_usd for one in choice.start) <= max(0.0, left.usd) + 1e-6
    assert sum(one.minutes for one in choice.start) <= max(0.0, left.minutes) + 1e-6
    assert room is None or len(choice.start) <= room
    eligible = [
        one
        for one in versions
        if one.problem is None
        and one.rows
        and one.cost_usd <= WHOLE.usd
        and one.minutes <= WHOLE.minutes
    ]
    assert list(choice.start) == eligible[: len(choice.start)]
    assert (choice.held is None) == (len(choice.start) == len(eligible))


def test_no_version_is_planned_after_the_first_that_waits() -> None:
    planned = []

    def planning() -> object:
        for code in "ABCD":
            planned.append(code)
            yield version(code)

    choose_versions(planning(), left=WHOLE, whole=WHOLE, room=1)  # type: ignore[arg-type]
    assert planned == ["A", "B"]


def run(
    code: str, *, under_way: bool = False, usd: float = 1.0, ledger: set[str] | None = None
) -> WindowRun:
    return WindowRun(code, under_way, usd, frozenset(ledger or {code}))


@pytest.mark.parametrize(
    ("runs", "spent", "usd"),
    [
        ([], {}, 0),
        ([run("A")], {"A": 0.7}, 0.7),  # ended: what it paid
        ([run("A", under_way=True)], {}, 1),  # under way: what it is expected to
        ([run("A", under_way=True)], {"A": 0.7}, 1),
        ([run("A", under_way=True)], {"A": 1.2}, 1.2),
        ([run("A"), run("B", under_way=True)], {"A": 0.7, "B": 0.2}, 1.7),
        # Started again after its process died: the ledger goes on under the first one's id.
        ([run("A"), run("A", under_way=True, ledger={"A", "again"})], {"A": 0.4}, 1),
    ],
)
def test_a_windows_commitment_includes_payments_and_expected_costs(
    runs: list[WindowRun], spent: dict[str, float], usd: float
) -> None:
    assert committed(runs, spent) == pytest.approx(usd)


@pytest.fixture
def settings(openai_settings: MakeSettings) -> Settings:
    return openai_settings(
        rag_embedding_small_dimensions=4,
        rag_embedding_large_dimensions=6,
        rag_embedding_small_usd_per_million_tokens=1000,
        rag_embedding_large_usd_per_million_tokens=0,
    )


def choose_in(database: Database, settings: Settings, **known: object) -> WindowChoice:
    values: dict[str, object] = {"runs": (), "busy": (), "at_work": 0, "warn": print}
    with database.connect(autocommit=True) as connection:
        return choose_now(connection, settings, WINDOW, now=NOON, **(values | known))  # type: ignore[arg-type]


def test_versions_loaded_or_on_disk_are_planned_and_those_without_licence_are_not(
    database: Database, settings: Settings
) -> None:
    load_version(database, "EN_LOADED", sentences(3))
    write_usfm_version(settings.rag_bibles_dir, "PT_DISK", sentences(5, word="rio"))
    write_usfm_version(settings.rag_bibles_dir, "PT_NO", sentences(5), ai_allowed=False)
    write_usfm_version(settings.rag_bibles_dir, "PT_BAD", [])
    choice = choose_in(database, settings)
    assert started(choice) == ["PT_DISK", "EN_LOADED"]
    disk, loaded = choice.start
    assert (disk.rows, loaded.rows) == (10, 6)  # both spaces
    assert disk.cost_usd > loaded.cost_usd > 0
    assert [line.split()[0] for line in choice.passed_over] == ["PT_BAD"]


def test_a_version_is_started_once_in_a_window_and_not_while_a_run_works_on_it(
    database: Database, settings: Settings
) -> None:
    for code in ("EN_A", "EN_B", "EN_C", "EN_D"):
        load_version(database, code, sentences(3, word=code))
    assert started(choose_in(database, settings)) == ["EN_A", "EN_B"]
    failed, busy = [run("EN_A")], ["EN_C"]
    assert started(choose_in(database, settings, runs=failed, busy=busy, at_work=1)) == ["EN_B"]
    full = choose_in(database, settings, at_work=2)
    assert (started(full), full.held) == ([], "2 runs of the lane rag_bible are under way")
    assert full.due


def test_payments_of_the_windows_runs_reduce_its_budget(
    database: Database, settings: Settings
) -> None:
    load_version(database, "EN_A", sentences(3))
    (alone,) = choose_in(database, settings).start
    budget = settings.model_copy(update={"rag_backfill_budget_usd": alone.cost_usd + 0.5})
    paid = [run("EN_B", under_way=True, usd=0.4)]
    assert started(choose_in(database, budget, runs=paid)) == ["EN_A"]
    dearer = [run("EN_B", under_way=True, usd=0.6)]
    choice = choose_in(database, budget, runs=dearer)
    assert started(choice) == []
    assert (choice.held or "").startswith("EN_A waits: it would cost")


def test_a_paused_lane_starts_nothing_and_says_why(database: Database, settings: Settings) -> None:
    load_version(database, "EN_A", sentences(3))
    with database.connect() as connection:
        pause_lane(connection, "rag_bible", "the provider is away", "command")
    choice = choose_in(database, settings)
    assert (started(choice), choice.held) == (
        [],
        "the lane rag_bible is paused: the provider is away",
    )


def test_documents_of_another_model_are_requeued_within_the_budget(
    database: Database, make_settings: MakeSettings
) -> None:
    old = space_of(database, make_settings())
    for key, text in (("a", "one two"), ("b", "three four five"), ("c", "six")):
        make_ready(database, old, key, [text])
    settings = make_settings(
        rag_embedding_provider="openai",
        rag_embedding_small_dimensions=8,
        rag_embedding_small_usd_per_million_tokens=100_000,  # a tenth of a dollar a token
    )
    later = Window(datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) + timedelta(hours=7))
    with database.connect(autocommit=True) as connection:
        assert requeue_documents(connection, settings, later, usd=0.1) == (0, 3)
        assert requeue_documents(connection, settings, later, usd=0.55) == (2, 1)
        assert documents_cost(connection, later.opens) == pytest.approx(0.5)
        assert requeue_documents(connection, settings, WINDOW, usd=5) == (0, 0)  # worked on since
    assert [state(database, key) for key in "abc"] == ["waiting", "waiting", "ready"]


def test_versions_without_a_known_price_are_skipped_naming_the_setting(
    database: Database, settings: Settings
) -> None:
    load_version(database, "EN_A", sentences(3))
    unnamed = settings.model_copy(
        update={
            "rag_embedding_small_model": "bge-m3",
            "rag_embedding_small_usd_per_million_tokens": None,
            "openai_base_url": "https://models.example/v1",
        }
    )
    choice = choose_in(database, unnamed)
    assert choice.start == ()
    assert choice.passed_over == (
        "EN_A is passed over: its cost is unknown: set RAG_EMBEDDING_SMALL_USD_PER_MILLION_TOKENS",
    )


def test_without_documents_no_space_is_created(database: Database, settings: Settings) -> None:
    with database.connect(autocommit=True) as connection:
        assert requeue_documents(connection, settings, WINDOW, usd=5) == (0, 0)
        assert connection.execute("SELECT count(*) FROM embedding_spaces").fetchone() == (0,)
        assert list(candidates(connection, settings, warn=print)) == []


def test_versions_that_passed_the_checks_are_not_planned_until_they_change(
    database: Database, settings: Settings
) -> None:
    load_version(database, "EN_A", sentences(3))
    embed_spaces(database, settings, "EN_A", EmbedOptions(), run_id="run")
    with database.connect(autocommit=True) as connection:

        def complete() -> frozenset[str]:
            return complete_versions(connection, settings)

        assert complete() == frozenset()  # nobody has checked it
        assert [one.rows for one in candidates(connection, settings, warn=print)] == [0]
        quality = version_quality(connection, settings, "EN_A")
        keep_evidence(connection, "EN_A", quality, list(QUALITY_CHECKS), run_id="run")
        assert complete() == {"EN_A"}
        assert list(candidates(connection, settings, warn=print)) == []
        # Its files are others now: planned from them.
        write_usfm_version(settings.rag_bibles_dir, "EN_A", sentences(4))
        assert [one.rows for one in candidates(connection, settings, warn=print)] == [8]
        other = settings.model_copy(update={"rag_embedding_large_dimensions": 7})
        assert complete_versions(connection, other) == frozenset()
    load_version(database, "EN_A", sentences(5))
    with database.connect() as connection:
        assert complete_versions(connection, settings) == frozenset()
