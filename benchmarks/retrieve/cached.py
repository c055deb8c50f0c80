"""What a query costs beyond its vector once it is known: ``query`` and ``vector`` in turn."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.index.bench import Bench, Report, say
from benchmarks.retrieve import services
from benchmarks.retrieve.released import ServedCorpus
from benchmarks.workload import workload
from openai_emulator.process import running_emulator
from rag_assets.retrieval.sql.query_embeddings import known_query, query_hash

LATENCY_MS = 100
_TEXTS = 40


def measure(bench: Bench, corpus: ServedCorpus, folder: Path, home: Path) -> Report:
    """Medians at one connection; each text's query and its very vector after one another."""
    pairs = 40 if bench.smoke else 500
    texts = [f"{verse.text} ({place})" for place, verse in enumerate(workload(_TEXTS).verses)]
    space = corpus.table.space
    queries, mixed = folder / "queries.jsonl", folder / "mixed.jsonl"
    queries.write_text("".join(json.dumps({"query": text}) + "\n" for text in texts))
    with (
        running_emulator(latency_ms=LATENCY_MS) as emulator,
        services.ours(
            "ours, for queries", home, workers=1,
            environment={"OPENAI_BASE_URL": emulator.base_url, "OPENAI_API_KEY": "sk-test-bench"},
        ) as service,
    ):  # fmt: skip
        say("query cache")
        cold = service.load(queries, connections=1, requests=_TEXTS)
        with bench.database.connect() as connection, mixed.open("w") as lines:
            for text in texts:
                vector = known_query(
                    connection, space.space_id, query_hash(text), max_age=timedelta(hours=1)
                )
                assert vector is not None
                lines.write(json.dumps({"query": text}) + "\n")
                lines.write(body_of(vector) + "\n")
        warm = service.load(mixed, connections=1, requests=2 * pairs, warm_up=2 * _TEXTS)
    assert cold["statuses"] == {"200": _TEXTS}, cold["statuses"]
    assert warm["statuses"] == {"200": 2 * pairs}, warm["statuses"]
    first = np.array(cold["ms"])
    found, given = np.array(warm["ms"])[0::2], np.array(warm["ms"])[1::2]
    difference = float(np.median(found) - np.median(given))
    return Report(
        f"A query that is known: 1 connection, {pairs} of each in turn, a provider that takes "
        f"{LATENCY_MS} ms; the median of a known query is {difference:+.2f} ms from its vector's",
        ("request", "P50 ms", "P95 ms"),
        [
            (name, f"{np.median(ms):.2f}", f"{np.percentile(ms, 95):.2f}")
            for name, ms in (
                ("query, new", first), ("query, known", found), ("vector, given", given)
            )
        ],
    )  # fmt: skip


def body_of(vector: np.ndarray) -> str:
    """A request with a vector, as json.dumps writes what the OpenAI client returns: 32 kB."""
    return json.dumps({"vector": vector.astype(np.float32).tolist()})
