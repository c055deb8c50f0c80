"""Collects what a reader leaves out, repairs or loses, counted by kind, with the first examples."""

from __future__ import annotations

from rag_assets.documents.formats.blocks import one_line
from rag_assets.documents.model import Remark, RemarkKind

_EXAMPLES = 5
_LONGEST_EXAMPLE = 80  # characters


class Remarks:
    """The remarks on one document; readers add to it as they go."""

    def __init__(self) -> None:
        self._counts: dict[tuple[RemarkKind, str], int] = {}
        self._examples: dict[tuple[RemarkKind, str], list[str]] = {}

    def left_out(self, what: str, example: str = "", count: int = 1) -> None:
        """Not in the text on purpose."""
        self._add("left_out", what, example, count)

    def repaired(self, what: str, example: str = "", count: int = 1) -> None:
        """In the text otherwise than in the file, or by a guess."""
        self._add("repaired", what, example, count)

    def lost(self, what: str, example: str = "", count: int = 1) -> None:
        """Should be in the text and is not."""
        self._add("lost", what, example, count)

    def all(self) -> tuple[Remark, ...]:
        """In the order in which each kind was first met."""
        return tuple(
            Remark(kind, what, count, tuple(self._examples[kind, what]))
            for (kind, what), count in self._counts.items()
        )

    def _add(self, kind: RemarkKind, what: str, example: str, count: int) -> None:
        key = (kind, what)
        self._counts[key] = self._counts.get(key, 0) + count
        examples = self._examples.setdefault(key, [])
        example = one_line(example)[:_LONGEST_EXAMPLE]
        if example and example not in examples and len(examples) < _EXAMPLES:
            examples.append(example)
