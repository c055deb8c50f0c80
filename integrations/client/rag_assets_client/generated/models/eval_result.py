from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="EvalResult")


@_attrs_define
class EvalResult:
    """The result of one query.

    Attributes:
        query (str):
        expected (list[str]):
        hits (list[str]): USFM references and keys of documents, best first.
        found_at (int | None): Rank of the first expected one.
        latency_ms (float):
        wrong_first (bool): The first hit is one that must not be first.
    """

    query: str
    expected: list[str]
    hits: list[str]
    found_at: int | None
    latency_ms: float
    wrong_first: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        query = self.query

        expected = self.expected

        hits = self.hits

        found_at: int | None
        found_at = self.found_at

        latency_ms = self.latency_ms

        wrong_first = self.wrong_first

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "query": query,
                "expected": expected,
                "hits": hits,
                "found_at": found_at,
                "latency_ms": latency_ms,
                "wrong_first": wrong_first,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        query = d.pop("query")

        expected = cast(list[str], d.pop("expected"))

        hits = cast(list[str], d.pop("hits"))

        def _parse_found_at(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        found_at = _parse_found_at(d.pop("found_at"))

        latency_ms = d.pop("latency_ms")

        wrong_first = d.pop("wrong_first")

        eval_result = cls(
            query=query,
            expected=expected,
            hits=hits,
            found_at=found_at,
            latency_ms=latency_ms,
            wrong_first=wrong_first,
        )

        eval_result.additional_properties = d
        return eval_result

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
