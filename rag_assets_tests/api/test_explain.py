"""``/api/v1/explain``."""

from __future__ import annotations

from rag_assets_tests.api.server import Server

EXPLAIN = "/api/v1/explain"


def test_a_hit_is_explained(server: Server) -> None:
    asked = {"query": "a great fish swallowed Jonah", "top_k": 3, "hybrid": True}
    answer = server.http.post(EXPLAIN, json=asked)
    assert answer.status_code == 200, answer.text
    hits = answer.json()["hits"]
    assert [{k: v for k, v in hit.items() if k != "why"} for hit in hits] == server.found(**asked)[
        "hits"
    ]
    assert hits[0]["why"]["ranks"] == {"exact": 1, "vector": 1, "text": 1, "fused": 1}
