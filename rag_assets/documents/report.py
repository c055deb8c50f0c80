"""A document's report: how much text it has, and what was left out, repaired or lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag_assets.documents.model import UNREADABLE_CHARACTER, Remark, RemarkKind
from rag_assets.documents.sql.documents import Document


@dataclass(frozen=True, slots=True)
class Report:
    """What a reading gave.

    :param pages: or slides; ``None`` where the format has none.
    :param replaced_characters: that could not be read and are U+FFFD in the text.
    :param lost: what should be in the text and is not.
    """

    pages: int | None
    passages: int
    characters: int
    replaced_characters: int
    left_out: tuple[Remark, ...]
    repaired: tuple[Remark, ...]
    lost: tuple[Remark, ...]


def report_of(document: Document) -> Report | None:
    """The report on the text that is stored; ``None`` where an older version has read it."""
    if document.characters is None or document.chunks is None:
        return None
    remarks = remarks_from(document.remarks)
    return Report(
        pages=document.pages,
        passages=document.chunks,
        characters=document.characters,
        replaced_characters=replaced_characters(remarks),
        left_out=of_kind(remarks, "left_out"),
        repaired=of_kind(remarks, "repaired"),
        lost=of_kind(remarks, "lost"),
    )


def remarks_from(stored: Sequence[Mapping[str, Any]] | None) -> tuple[Remark, ...]:
    """As they are stored."""
    return tuple(
        Remark(one["kind"], one["what"], one["count"], tuple(one["examples"]))
        for one in stored or ()
    )


def of_kind(remarks: Sequence[Remark], kind: RemarkKind) -> tuple[Remark, ...]:
    """Those of one kind."""
    return tuple(remark for remark in remarks if remark.kind == kind)


def losses(remarks: Sequence[Remark]) -> int:
    """How often something that should be in the text is not."""
    return sum(remark.count for remark in of_kind(remarks, "lost"))


def replaced_characters(remarks: Sequence[Remark]) -> int:
    """Characters that are U+FFFD in the text."""
    return sum(remark.count for remark in remarks if remark.what == UNREADABLE_CHARACTER)
