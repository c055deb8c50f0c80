"""What an audit finds: kinds of differences, the differences of a corpus, and the report. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rag_assets.vectors.sql.tables import VectorTable
from rag_assets.visible import count

Repair = Literal["embed", "delete", "rewrite", "load", "queue", "report", "release", "none"]


@dataclass(frozen=True)
class Kind:
    """One kind of difference.

    :param means: what is wrong, as a sentence about one row or file.
    :param repair: what a repair does; ``none``: an operator follows ``remedy``.
    :param remedy: what a repair does, or what an operator is to do, in words.
    """

    means: str
    repair: Repair
    remedy: str


KINDS: Mapping[str, Kind] = {
    "missing_vector": Kind("A text has no vector.", "embed", "embed the text"),
    "orphaned_vector": Kind("A vector has no text.", "delete", "delete the vector"),
    "stale_text_hash": Kind(
        "A vector belongs to an earlier text.", "embed", "embed the present text"
    ),
    "wrong_text_hash": Kind(
        "The stored hash is not that of the stored text.", "rewrite", "compute the hash again"
    ),
    "duplicate_reference": Kind(
        "A verse, or a place in a document, is stored twice.",
        "delete",
        "keep the row that its source has, else the older one",
    ),
    "zero_vector": Kind("A vector is zero or not finite.", "embed", "embed the text again"),
    "wrong_norm": Kind("A vector's norm is not 1.", "embed", "embed the text again"),
    "another_model": Kind(
        "A vector is the one that another model gave the text.", "embed", "embed the text again"
    ),
    "wrong_dimension": Kind(
        "A vector has another dimension than its space.", "embed", "embed the text again"
    ),
    "not_its_text": Kind(
        "A vector is not the embedding of its text (sampled).", "embed", "embed the text again"
    ),
    "misfiled_vector": Kind(
        "A vector's version, language, book or chapter is not its text's.",
        "rewrite",
        "copy them from the text",
    ),
    "wrong_code": Kind(
        "A code is missing, or is not its vector's.", "rewrite", "compute the code again"
    ),
    "disabled_trigger": Kind(
        "A trigger that keeps the tables consistent is disabled.", "rewrite", "enable it"
    ),
    "lost_constraint": Kind(
        "A unique constraint of the texts is gone.", "rewrite", "create it again"
    ),
    "lost_type": Kind(
        "A column of vectors no longer has the type and dimension of its space.",
        "rewrite",
        "give it its type again",
    ),
    "text_not_in_source": Kind(
        "A stored verse is not what its unchanged source says.", "load", "load the version again"
    ),
    "source_not_loaded": Kind(
        "A version's files are new, changed or unreadable.",
        "none",
        "`rag-assets bible embed VERSION`, or correct the files",
    ),
    "file_without_document": Kind(
        "A file of the inbox has no document.", "queue", "add it to the queue"
    ),
    "untrue_partition": Kind(
        "Dagster shows another status than the data have.", "report", "correct the status"
    ),
    "released_rows_changed": Kind(
        "Rows of a released version changed after the gate judged them.",
        "release",
        "release through the gate, if they still differ",
    ),
}
"""In the order in which they are shown and repaired."""

SHOWN = 5
"""Number of examples that are kept of a difference."""


def others(
    ids: Sequence[int], examples: Sequence[str], left_out: Collection[int]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Rows that are not left out, and those of the examples, which are of the first rows."""
    kept = [(id_, place) for place, id_ in enumerate(ids) if id_ not in left_out]
    shown = tuple(examples[place] for _, place in kept if place < len(examples))
    return tuple(id_ for id_, _ in kept), shown


@dataclass(frozen=True)
class Difference:
    """All differences of one kind in one scope.

    :param kind: one of :data:`KINDS`.
    :param scope: a version, ``documents``, or a table.
    :param table: the vectors concerned, if they are of one space.
    :param ids: the rows, for the repair; ``keys``: names instead of rows, such as paths.
    :param examples: the first few, as references.
    :param reason: why it is not repaired; empty if it can be, or was not tried.
    """

    kind: str
    scope: str
    count: int
    table: VectorTable | None = None
    ids: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    reason: str = ""

    def without(self, left_out: Collection[int]) -> Difference:
        """The same for the other rows."""
        ids, examples = others(self.ids, self.examples, left_out)
        return replace(self, ids=ids, examples=examples, count=len(ids))

    @property
    def space(self) -> str:
        return str(self.table.space.spec) if self.table else ""

    def __str__(self) -> str:
        where = f" in {self.space}" if self.table else ""
        more = "; …" if self.count > len(self.examples) else ""
        named = f" ({'; '.join(self.examples)}{more})" if self.examples else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.kind}: {self.count:,} of {self.scope}{where}{named}{why}"


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    :param rows: texts and vectors compared.
    :param sampled: texts that were embedded again; ``sample_usd``: what that cost.
    :param notes: what could not be compared, and why.
    :param repaired: rows, files and partitions that a repair corrected.
    """

    differences: tuple[Difference, ...]
    rows: int = 0
    sampled: int = 0
    sample_usd: float | None = 0.0
    notes: tuple[str, ...] = ()
    repaired: int = 0

    @property
    def count(self) -> int:
        return sum(one.count for one in self.differences)

    def __str__(self) -> str:
        found = count(self.count, "difference") if self.differences else "no difference"
        return f"{found} in {self.rows:,} rows; {count(self.sampled, 'text')} embedded again"


@dataclass
class Findings:
    """Differences and notes, collected while an audit runs."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0

    def flagged(self, table: VectorTable) -> frozenset[int]:
        """Rows of a table whose vectors have a difference already: they are not judged twice."""
        return frozenset(
            id_
            for one in self.differences
            if one.table == table and one.kind != "wrong_code"
            for id_ in one.ids
        )

    def leave_out(self, kind: str, table: VectorTable | None, ids: Collection[int]) -> None:
        """Take rows out of the differences of a kind, for which another explains them."""
        kept = []
        for one in self.differences:
            left = one.without(ids) if (one.kind, one.table) == (kind, table) else one
            if left.count:
                kept.append(left)
        self.differences = kept


def in_order(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Sorted by kind, as :data:`KINDS` lists them, then by scope and space."""
    order = list(KINDS)
    return tuple(sorted(differences, key=lambda one: (order.index(one.kind), one.scope, one.space)))


def described(one: Difference) -> dict[str, object]:
    """A difference as JSON."""
    return {
        "kind": one.kind,
        "scope": one.scope,
        "space": one.space,
        "count": one.count,
        "examples": list(one.examples),
        "reason": one.reason,
    }
