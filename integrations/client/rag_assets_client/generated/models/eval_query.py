from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EvalQuery")


@_attrs_define
class EvalQuery:
    """One query, and what one of the hits should be.

    Attributes:
        query (str):
        expected (list[str] | Unset): Verses such as "RUT 1:16", or keys of documents.
        not_first (list[str] | Unset): What must not be the first hit.
    """

    query: str
    expected: list[str] | Unset = UNSET
    not_first: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        query = self.query

        expected: list[str] | Unset = UNSET
        if not isinstance(self.expected, Unset):
            expected = self.expected

        not_first: list[str] | Unset = UNSET
        if not isinstance(self.not_first, Unset):
            not_first = self.not_first

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "query": query,
            }
        )
        if expected is not UNSET:
            field_dict["expected"] = expected
        if not_first is not UNSET:
            field_dict["not_first"] = not_first

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        query = d.pop("query")

        expected = cast(list[str], d.pop("expected", UNSET))

        not_first = cast(list[str], d.pop("not_first", UNSET))

        eval_query = cls(
            query=query,
            expected=expected,
            not_first=not_first,
        )

        return eval_query
