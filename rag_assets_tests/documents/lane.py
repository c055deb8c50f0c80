"""A test's document lane: an inbox, its queue, and runs with the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from openai_emulator.process import Emulator
from rag_assets.documents.publishing import DocumentOutcome, RunSummary
from rag_assets.documents.worker import process_documents
from rag_assets.lanes import PROCESSING
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets_tests.documents.dropped import Dropped


@dataclass(frozen=True)
class Lane:
    """An inbox with its database and settings."""

    dropped: Dropped
    emulator: Emulator

    @property
    def database(self) -> Database:
        return self.dropped.database

    @property
    def settings(self) -> Settings:
        return self.dropped.settings

    @property
    def folder(self) -> Path:
        return self.dropped.folder

    def drop(self, **files: str | bytes) -> None:
        """Drop Markdown files by the stems of their names, and scan the inbox."""
        for name, content in files.items():
            self.dropped.drop(f"{name}.md", content)
        self.dropped.scan()

    def process(
        self,
        *,
        run_id: str = "run",
        lane: str | None = PROCESSING,
        keys: Sequence[str] | None = None,
        force: bool = False,
        **changes: object,
    ) -> Processed:
        """Execute a run; ``changes`` of the settings apply only to it."""
        done = Processed()
        done.summary = process_documents(
            self.database,
            self.settings.model_copy(update=changes),
            self.dropped.inbox,
            run_id=run_id,
            lane=lane,
            keys=keys,
            force=force,
            on_outcomes=done.outcomes.extend,
        )
        return done

    def states(self) -> dict[str, str]:
        """States by the stem of the path."""
        return {Path(path).stem: state for path, state in self.dropped.states().items()}

    def key(self, name: str) -> str:
        """The key of the document dropped under this stem."""
        (found,) = (
            document.key
            for document in self.dropped.documents()
            if Path(document.path).stem == name and document.state != "withdrawn"
        )
        return found

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """The rows of a query."""
        with self.database.connect() as connection:
            return connection.execute(statement.encode()).fetchall()


@dataclass
class Processed:
    """Result of a run."""

    outcomes: list[DocumentOutcome] = field(default_factory=list)
    summary: RunSummary = field(default_factory=RunSummary)

    def states(self) -> dict[str, str]:
        """By key. Each document ended once."""
        states = {outcome.key: outcome.state for outcome in self.outcomes}
        assert len(states) == len(self.outcomes)
        return states

    def __getitem__(self, key: str) -> DocumentOutcome:
        (found,) = (outcome for outcome in self.outcomes if outcome.key == key)
        return found


def passage(topic: str, *, words: int = 60) -> str:
    """A unique text per topic."""
    return " ".join(f"{topic} sentence {number} tells of the {topic}." for number in range(words))


def markdown(*topics: str) -> str:
    """A document with one section, and therefore one chunk, per topic."""
    return "\n\n".join(f"# {topic.title()}\n\n{passage(topic)}" for topic in topics)


def assert_all_is_right(lane: Lane) -> None:
    """Ready documents have all their chunks once, each with the provider's vector of its text."""
    rows = lane.sql(
        """
        SELECT d.document_key, d.chunks, c.position, c.context || c.text, e.embedding::text
          FROM documents d LEFT JOIN document_chunks c USING (document_id)
          LEFT JOIN chunk_embeddings_s1 e USING (chunk_id)
         WHERE d.state = 'ready' ORDER BY document_key, position
        """
    )
    positions: dict[object, list[object]] = {}
    for key, chunks, position, _, _ in rows:
        positions.setdefault((key, chunks), []).append(position)
    for (key, chunks), found in positions.items():  # type: ignore[misc]
        assert found == list(range(1, chunks + 1)), key
    assert [row[0] for row in rows if row[4] is None] == []
    vectors = {str(row[3]): np.fromstring(str(row[4])[1:-1], sep=",") for row in rows}
    texts = list(vectors)
    for first in range(0, len(texts), 200):
        some = texts[first : first + 200]
        answer = httpx.post(
            f"{lane.emulator.base_url}/embeddings",
            json={"model": "text-embedding-3-small", "input": some},
            headers={"Authorization": "Bearer sk-test-one"},
            trust_env=False,
            timeout=60,
        ).raise_for_status()
        given = np.array([item["embedding"] for item in answer.json()["data"]])
        stored = np.array([vectors[text] for text in some])
        assert np.sum(stored * given, axis=1).min() > 0.999


def assert_nothing_is_left_over(lane: Lane, *, late_answers: int = 0) -> None:
    """No claim, answer, lease or vector without an owner.

    :param late_answers: maximum number of answers to texts that another run had already embedded.
    """
    assert lane.sql("SELECT count(*) FROM embedding_claims") == [(0,)]
    assert lane.sql("SELECT count(*) <= %d FROM answered_texts_s1" % late_answers) == [(True,)]  # noqa: S608, UP031
    assert lane.sql("SELECT count(*) FROM documents WHERE state IN ('waiting', 'running')") == [
        (0,)
    ]
    orphans = """
        SELECT count(*) FROM chunk_embeddings_s1 e
         WHERE NOT EXISTS (SELECT FROM document_chunks c WHERE c.chunk_id = e.chunk_id)
    """
    assert lane.sql(orphans) == [(0,)]
