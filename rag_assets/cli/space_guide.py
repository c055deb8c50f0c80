"""The steps of ``rag-assets space change``: fill, index, compare, switch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from rag_assets.cli.output import plain, remark, show_failures
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.worker import process_documents
from rag_assets.errors import GateRefusedError
from rag_assets.index.golden_spaces import GoldenHits, golden_hits
from rag_assets.operations.model_change import ModelChange, check_hits
from rag_assets.postgres.database import Database
from rag_assets.progress import Progress
from rag_assets.release.releasing import Released, release
from rag_assets.settings.model import Settings
from rag_assets.vectors.sql.spaces import find_space, space_by_id
from rag_assets.vectors.sql.tables import Corpus, bible_table, documents_table, has_rows


@dataclass(frozen=True)
class Compared:
    """The same golden queries in both spaces; ``None`` where there are none."""

    served: GoldenHits | None
    wanted: GoldenHits | None


@dataclass(frozen=True)
class Guide:
    """The steps of a change, each of which does only what is left of it."""

    database: Database
    settings: Settings
    progress: Progress
    say: Callable[[str], None]

    def fill_versions(self, codes: Sequence[str]) -> None:
        """Embed and check the versions, beside what serves."""
        self.say("[bold]1[/bold] embed the versions into the new space")
        # Dagster takes 2 s to import: here, so that planning does not wait.
        from rag_assets.defs.launch import run_bible_embeddings  # noqa: PLC0415

        for code in codes:
            result = run_bible_embeddings(code, {}, progress=self.progress, settings=self.settings)
            _stop_at(code, result.failures)
            self.say(f"  {code}: {result.embedded} embedded, {result.reused} reused")

    def fill_documents(self, keys: Sequence[str]) -> None:
        """Embed what is stored of the documents."""
        self.say(f"[bold]2[/bold] embed the documents into the new space: {len(keys)}")
        if not keys:
            return
        summary = process_documents(
            self.database,
            self.settings,
            open_inbox(self.settings),
            run_id=f"cli-{os.getpid()}",
            lane=None,
            keys=keys,
            progress=self.progress,
        )
        self.say(f"  {plain(summary)}")

    def index(self, found: ModelChange) -> None:
        """Decide on the new space's indexes, build and check them."""
        self.say("[bold]3[/bold] index and checks")
        from rag_assets.defs.launch import run_corpus_release  # noqa: PLC0415

        for corpus in self._corpora(found):
            result = run_corpus_release(
                {}, release=False, progress=self.progress, settings=self.settings,
                corpus_name=corpus,
            )  # fmt: skip
            _stop_at(f"{corpus} index", result.failures)
            self.say(f"  {corpus}: {result.decision}, {sum(result.checks.values())} checks passed")

    def compare(self, found: ModelChange, *, accept_fewer_hits: bool) -> Compared:
        """Ask both spaces the same golden queries.

        :raises GateRefusedError: the new one answers fewer.
        """
        self.say("[bold]4[/bold] the same golden queries in both spaces")
        served = found.release.space("bible", "small")
        with self.database.connect(autocommit=True) as connection:
            wanted = find_space(connection, self.settings, "small")
            if served is None or wanted is None:
                return Compared(None, None)
            before, after = (
                golden_hits(connection, self.settings, bible_table(space), found.versions)
                for space in (space_by_id(connection, served.space_id, "small"), wanted)
            )
        for name, hits in (("serves", before), ("new", after)):
            self.say(f"  {name}: {_shown(hits)}")
        reason = check_hits(before, after)
        if reason and not accept_fewer_hits:
            raise GateRefusedError((reason,))
        return Compared(before, after)

    def switch(self, *, after_rollback: bool) -> Released:
        """Release the new space, if the gate approves it."""
        self.say("[bold]5[/bold] switch")
        try:
            return release(
                self.database,
                self.settings,
                run_id=f"cli-{os.getpid()}",
                after_rollback=after_rollback,
                progress=self.progress,
            )
        except GateRefusedError:
            remark(
                "the old space serves, but the settings name the new model: fix the reason below, "
                "then run `rag-assets space change` without --set"
            )
            raise

    def _corpora(self, found: ModelChange) -> tuple[Corpus, ...]:
        with self.database.connect() as connection:
            space = find_space(connection, self.settings, "small")
            documents = space is not None and has_rows(connection, documents_table(space))
        present: dict[Corpus, bool] = {"bible": bool(found.versions), "documents": documents}
        return tuple(corpus for corpus in present if present[corpus])


def _stop_at(of: str, failures: Sequence[str]) -> None:
    if failures:
        show_failures(of, failures)
        remark("nothing is switched; run the same command again to go on")
        raise typer.Exit(1)


def silent(_: str) -> None:
    """Say nothing: the output is JSON."""


def _shown(hits: GoldenHits | None) -> str:
    if hits is None:
        return "no golden queries (RAG_GOLDEN_QUERIES is none)"
    across = f", {hits.found_across} of {hits.across} in other languages" if hits.across else ""
    return f"{hits.found} of {hits.asked} answered in their language{across}"
