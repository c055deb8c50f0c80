"""The queue over HTTP: order, lanes, priorities, pauses and dead letters, for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.api.queue_models import PrioritizeQueue
from rag_assets.api.routes.queue import ADMIN
from rag_assets.documents.sql.lanes import paused_lanes
from rag_assets.postgres.database import Database
from rag_assets_tests.api.conftest import Copy
from rag_assets_tests.api.server import environment_of, serving
from rag_assets_tests.api.test_documents import Desk
from rag_assets_tests.api.test_problems import problem_of
from rag_assets_tests.documents.queued import MB, keys_of, new, queue, row, take
from rag_assets_tests.documents.test_documents import kill

RULES = [
    {"file_size_mb": {"$lt": 5}, "priority": "high"},
    {"file_size_mb": {"$gte": 5, "$lt": 20}, "priority": "normal"},
    {"file_size_mb": {"$gte": 20}, "priority": "low"},
]


@pytest.fixture(scope="module")
def serving_desk(
    template_database: Database, copied: Copy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("queue")
    database = copied(template_database)
    with serving(folder, environment_of(database), ready="/healthz") as server:
        yield Desk(server, folder, database)


@pytest.fixture
def desk(serving_desk: Desk) -> Desk:
    """A service whose queue is empty."""
    with serving_desk.database.connect() as connection:
        connection.execute("DELETE FROM documents")
        connection.execute("DELETE FROM paused_lanes")
    return serving_desk


def done(desk: Desk, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to an accepted request, without its id."""
    answer = desk.server.http.post(f"{ADMIN}/{path}", json=body, headers=desk.admin)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert found.pop("request_id")
    return found


def test_the_longest_waiting_come_first(desk: Desk) -> None:
    queue(desk.database, new("oldest", priority=3), new("old", priority=2), new("newest"))
    answer = done(desk, "reorder-queue", {"strategy": "oldest_first", "limit": 2})
    assert answer == {"documents": 2}
    assert keys_of(take(desk.database)) == ["oldest", "old", "newest"]


def test_large_documents_are_moved_to_their_lane(desk: Desk) -> None:
    sizes = {"small": 10 * MB - 1, "large": 10 * MB, "running": 11 * MB}
    queue(desk.database, *(new(key, size=size) for key, size in sizes.items()))
    take(desk.database, keys=["running"])
    body = {"size_threshold_mb": 10, "target_queue": "rag_large_docs"}
    assert done(desk, "separate-large-jobs", body) == {"documents": 1}
    lanes = {key: row(desk.database, key).lane for key in sizes}
    assert lanes == {
        "small": "rag_processing", "large": "rag_large_docs", "running": "rag_processing",
    }  # fmt: skip
    assert done(desk, "separate-large-jobs", body) == {"documents": 0}


def test_rules_give_priorities_and_the_first_that_fits_counts(desk: Desk) -> None:
    sizes = {"a": 1, "b": 5 * MB - 1, "c": 5 * MB, "d": 20 * MB - 1, "e": 20 * MB, "first": 30 * MB}
    queue(desk.database, *(new(key, size=size, priority=3) for key, size in sizes.items()))
    with desk.database.connect() as connection:
        connection.execute("UPDATE documents SET priority = 0 WHERE document_key = 'first'")
    assert done(desk, "prioritize-queue", {"rules": RULES}) == {"documents": 4}
    priorities = {key: row(desk.database, key).priority for key in sizes}
    assert priorities == {"a": 1, "b": 1, "c": 2, "d": 2, "e": 3, "first": 0}
    first = [{"file_size_mb": {"$lte": 5}, "priority": "low"}, *RULES]
    assert done(desk, "prioritize-queue", {"rules": first}) == {"documents": 3}
    assert {key: row(desk.database, key).priority for key in "abcde"} == {
        "a": 3, "b": 3, "c": 3, "d": 2, "e": 3,
    }  # fmt: skip


@given(
    size=st.integers(0, 40 * MB),
    bounds=st.dictionaries(
        st.sampled_from(["$lt", "$lte", "$gt", "$gte"]),
        st.integers(0, 40) | st.floats(0, 40),
        min_size=1,
    ),
)
def test_a_range_of_sizes_means_what_it_says(size: int, bounds: dict[str, float]) -> None:
    rule = PrioritizeQueue.model_validate(
        {"rules": [{"file_size_mb": bounds, "priority": "high"}]}
    ).rules[0].plain()  # fmt: skip
    holds = {
        "$lt": lambda bound: size < bound * MB,
        "$lte": lambda bound: size <= bound * MB,
        "$gt": lambda bound: size > bound * MB,
        "$gte": lambda bound: size >= bound * MB,
    }
    expected = all(holds[name](bound) for name, bound in bounds.items())
    assert (rule.at_least <= size < rule.below) is expected


def test_a_lane_is_paused_and_resumed(desk: Desk) -> None:
    paused = done(desk, "pause-queue", {"lane": "rag_processing", "reason": "a disk is changed"})
    assert paused == {"lane": "rag_processing", "paused": True, "changed": True}
    with desk.database.connect() as connection:
        (pause,) = paused_lanes(connection).values()
    assert pause.description == "by command: a disk is changed"
    for changed in (True, False):
        resumed = done(desk, "resume-queue", {"lane": "rag_processing"})
        assert resumed == {"lane": "rag_processing", "paused": False, "changed": changed}


def test_dead_letters_are_listed_and_put_back(desk: Desk) -> None:
    for key in ("a", "b", "c"):
        queue(desk.database, key)
        kill(desk.database, key)
    queue(desk.database, "waits")
    first = desk.server.http.get(
        f"{ADMIN}/dead-letters", params={"limit": 2}, headers=desk.admin
    ).json()
    assert [found["key"] for found in first["documents"]] == ["a", "b"]
    (kind,) = first["classes"]
    assert first["classes"] == {kind: 3}
    assert done(desk, "retry-dead-letters", {"keys": ["a", "waits"]}) == {"documents": 1}
    assert done(desk, "retry-dead-letters", {"error_class": kind}) == {"documents": 2}
    assert done(desk, "retry-dead-letters", {"all": True}) == {"documents": 0}
    assert row(desk.database, "a").state == "waiting"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("reorder-queue", {}, "strategy"),
        ("reorder-queue", {"strategy": "newest_first"}, "strategy"),
        ("reorder-queue", {"strategy": "oldest_first", "limit": 0}, "limit"),
        ("separate-large-jobs", {"size_threshold_mb": "10"}, "size_threshold_mb"),
        ("separate-large-jobs", {"size_threshold_mb": 1, "target_queue": "x"}, "target_queue"),
        ("prioritize-queue", {"rules": []}, "rules"),
        ("prioritize-queue", {"rules": [{"file_size_mb": {}, "priority": "low"}]}, "file_size_mb"),
        ("prioritize-queue", {"rules": [{**RULES[0], "priority": "urgent"}]}, "priority"),
        ("prioritize-queue", {"rules": [{**RULES[0], "name": "x"}]}, "name"),
        ("pause-queue", {"lane": "others"}, "lane"),
        ("retry-dead-letters", {}, "body"),
        ("retry-dead-letters", {"keys": ["a"], "all": True}, "body"),
    ],
)
def test_what_is_wrong_is_a_problem(desk: Desk, path: str, body: object, field: str) -> None:
    answer = desk.server.http.post(f"{ADMIN}/{path}", json=body, headers=desk.admin)
    problem = problem_of(answer, 422, "invalid-request")
    assert problem["faults"][0]["field"].rpartition(".")[2] == field
    assert len(problem["faults"]) == 1


def test_only_administrators_may(desk: Desk) -> None:
    paths = desk.server.http.get("/openapi.json").json()["paths"]
    methods = {path: set(found) for path, found in paths.items() if path.startswith(ADMIN)}
    assert len(methods) == 7
    for path, (method,) in methods.items():
        refused = desk.server.http.request(method, path, headers=desk.reader, json={})
        problem_of(refused, 403, "missing-scope")


def test_the_log_says_what_was_done_and_by_which_key(desk: Desk) -> None:
    queue(desk.database, "one")
    done(desk, "reorder-queue", {"strategy": "oldest_first"})
    key = desk.admin["X-API-Key"].split("_")[1]
    assert "/reorder-queue status=200" in desk.server.log
    assert f"changed=1 key={key}" in desk.server.log
