"""A complete change of model during searches, and its reversal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Thread

import pytest

from rag_assets.errors import GateRefusedError
from rag_assets.postgres.database import Database
from rag_assets.release.releasing import evaluate_gate, roll_back
from rag_assets.release.sql.releases import last_releases
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import find_space
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.release.corpus import (
    LISTS,
    active_number,
    check,
    embed,
    index,
    index_of_name,
    judge,
    prepare,
    release_corpus,
    release_settings,
)
from rag_assets_tests.searches import ask

pytestmark = pytest.mark.long

TEXTS = [
    f"{who} {what} {where}"
    for who in ("A shepherd", "The king", "Her daughter", "An old prophet", "Two merchants")
    for what in ("sleeps beside", "walks towards", "builds a tower at", "sings of", "sells")
    for where in ("the river", "a distant mountain", "the market")
]
CODES = ("EN_A", "EN_B")
PATIENCE_S = 60


@dataclass(frozen=True)
class Answer:
    """One search and its result."""

    text: str
    release_id: int
    generation: int | None
    first: str
    score: float


@dataclass
class Searchers:
    """Threads that search continuously, with the current settings."""

    database: Database
    settings: Settings
    answers: list[Answer] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    done: bool = False
    answered: Condition = field(default_factory=Condition)

    def work(self, first: int) -> None:
        place = first
        while not self.done:
            place = (place + 7) % len(TEXTS)
            try:
                found = ask(self.database, self.settings, TEXTS[place], top_k=3)
                answer = Answer(
                    TEXTS[place],
                    found.release_id,
                    found.plan.generation,
                    found.hits[0].text,
                    found.hits[0].score,
                )
            except Exception as fault:
                self.faults.append(fault)
                self.done = True
            with self.answered:
                if not self.faults:
                    self.answers.append(answer)
                self.answered.notify_all()
                self.answered.wait(0.03)  # the concurrent build needs the processors too

    def go_on(self, count: int = 4) -> list[Answer]:
        """Wait for this many answers to searches sent after this call."""
        with self.answered:
            start = len(self.answers) + 2  # two may have been in flight
            enough = self.answered.wait_for(
                lambda: self.faults or len(self.answers) >= start + count, PATIENCE_S
            )
            assert not self.faults, self.faults
            assert enough
            return self.answers[start:]


@contextmanager
def searching(database: Database, settings: Settings) -> Iterator[Searchers]:
    """Two threads that search continuously."""
    searchers = Searchers(database, settings)
    threads = [Thread(target=searchers.work, args=(first,)) for first in (0, 3)]
    for thread in threads:
        thread.start()
    try:
        yield searchers
    finally:
        searchers.done = True
        for thread in threads:
            thread.join(PATIENCE_S)


CHANGES = {
    "other dimensions": ({}, {"rag_embedding_small_dimensions": 80}),
    "another model of the same dimensions": (
        {},
        {"rag_embedding_small_model": "text-embedding-3-large"},
    ),
    "another provider": (
        {"rag_embedding_provider": "offline"},
        {"rag_embedding_provider": "openai"},
    ),
    "another precision": ({}, {"rag_embedding_precision": "vector"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_no_search_fails_or_mixes_spaces_during_a_change_of_model_and_back(
    database: Database, openai_settings: MakeSettings, change: str
) -> None:
    before, after = CHANGES[change]
    # Every list is read: with so few fragments, losing a single one is more than the gate allows.
    index_of_all = {"rag_index_min_rows": 1, "pg_ivfflat_probes": LISTS}
    old = release_settings(openai_settings, **index_of_all, **before)
    new = release_settings(openai_settings, **index_of_all, **(before | after))
    for code in CODES:
        embed(database, old, code, TEXTS)
    check(database, old, *CODES)
    index(database, old)
    release_corpus(database, old)

    with searching(database, old) as searchers:
        assert {answer.release_id for answer in searchers.go_on()} == {1}
        for code in CODES:
            embed(database, new, code)
            with pytest.raises(GateRefusedError):
                release_corpus(database, new)
        index(database, new)
        assert {answer.release_id for answer in searchers.go_on()} == {1}
        check(database, new, *CODES)
        judge(database, new)
        second = release_corpus(database, new).release.release_id
        assert {answer.release_id for answer in searchers.go_on()} == {second}
        searchers.settings = new
        assert {answer.release_id for answer in searchers.go_on()} == {second}
        assert roll_back(database)[0].release_id == 1
        assert {answer.release_id for answer in searchers.go_on()} == {1}
        searchers.settings = old
        assert {answer.release_id for answer in searchers.go_on()} == {1}
    assert searchers.faults == []

    with database.connect() as connection:
        served = {
            made.release_id: made.space("bible", "small") for made in last_releases(connection)
        }
        spaces = [find_space(connection, one, "small") for one in (old, new)]
    assert spaces[0] is not None
    assert spaces[1] is not None
    first, last = served[1], served[second]
    assert first is not None
    assert last is not None
    assert (first.space_id, last.space_id) == (spaces[0].space_id, spaces[1].space_id)
    assert first.space_id != last.space_id
    generations = {1: first.generation, second: last.generation}
    for answer in searchers.answers:
        assert answer.generation == generations[answer.release_id] is not None
        # The query is a verse's text: it is found at distance 0, but only in its own space.
        assert answer.first == answer.text
        assert answer.score > 0.99


@pytest.mark.slow
def test_a_new_space_fills_beside_the_served_one_and_is_released_only_when_complete(
    database: Database, make_settings: MakeSettings
) -> None:
    old = release_settings(make_settings, rag_index_min_rows=1)
    new = release_settings(make_settings, rag_index_min_rows=1, rag_embedding_small_dimensions=80)
    for code in CODES:
        prepare(database, old, code)
    release_corpus(database, old)

    embed(database, new, "EN_A")
    check(database, new, "EN_A")
    index(database, new)
    with database.connect() as connection:
        verdict = evaluate_gate(connection, new)[1]
    (reason,) = verdict.reasons
    assert (reason.subject, reason.kind) == ("EN_B", "missing")
    assert "it is served now and has no vectors in offline/" in reason.sentence

    embed(database, new, "EN_B")
    check(database, new, "EN_B")
    built = index(database, new).generation
    assert built is not None
    done = release_corpus(database, new)
    assert done.release.versions == CODES
    assert index_of_name(database) == ("verse_embeddings_s2", built.number)
    found = ask(database, old, "The EN_B number 3 runs down to the sea before 10 days")
    assert (found.hits[0].text, found.hits[0].version) == (
        "The EN_B number 3 runs down to the sea before 10 days",
        "EN_B",
    )


def test_the_served_table_is_maintained_while_the_next_one_is_built(
    database: Database, make_settings: MakeSettings
) -> None:
    old = release_settings(make_settings, rag_index_min_rows=1)
    new = release_settings(make_settings, rag_index_min_rows=1, rag_embedding_small_dimensions=80)
    prepare(database, old)
    release_corpus(database, old)
    embed(database, new, "EN_A")
    index(database, new)
    with database.connect() as connection:
        decided = connection.execute(
            "SELECT space_id, action, generation FROM index_decisions ORDER BY space_id"
        ).fetchall()
    assert decided == [(1, "keep", 1), (2, "build", 2)]
    assert active_number(database) == 1


def test_returning_to_the_old_model_by_the_settings_is_an_ordinary_release(
    database: Database, make_settings: MakeSettings
) -> None:
    old = release_settings(make_settings)
    new = release_settings(make_settings, rag_embedding_small_dimensions=80)
    prepare(database, old)
    release_corpus(database, old)
    embed(database, new, "EN_A")
    check(database, new, "EN_A")
    index(database, new)
    release_corpus(database, new)
    back = release_corpus(database, old)
    assert back.release.release_id == 3
    assert ask(database, new, "the river").release_id == 3
