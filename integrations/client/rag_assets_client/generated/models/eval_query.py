from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="EvalQuery")


@_attrs_define
class EvalQuery:
    """One query, and the references that one of the hits should have.

    Attributes:
        query (str):
        expected (list[str] | Unset): Such as "RUT 1:16".
    """

    query: str
    expected: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        query = self.query

        expected: list[str] | Unset = UNSET
        if not isinstance(self.expected, Unset):
            expected = self.expected

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "query": query,
            }
        )
        if expected is not UNSET:
            field_dict["expected"] = expected

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        query = d.pop("query")

        expected = cast(list[str], d.pop("expected", UNSET))

        eval_query = cls(
            query=query,
            expected=expected,
        )

        return eval_query
