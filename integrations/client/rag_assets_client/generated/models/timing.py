from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="Timing")


@_attrs_define
class Timing:
    """Milliseconds.

    Attributes:
        embedding_ms (float):
        search_ms (float):
        reranking_ms (float | None): null if no cross-encoder was called.
        total_ms (float):
    """

    embedding_ms: float
    search_ms: float
    reranking_ms: float | None
    total_ms: float
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        embedding_ms = self.embedding_ms

        search_ms = self.search_ms

        reranking_ms: float | None
        reranking_ms = self.reranking_ms

        total_ms = self.total_ms

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "embedding_ms": embedding_ms,
                "search_ms": search_ms,
                "reranking_ms": reranking_ms,
                "total_ms": total_ms,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        embedding_ms = d.pop("embedding_ms")

        search_ms = d.pop("search_ms")

        def _parse_reranking_ms(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        reranking_ms = _parse_reranking_ms(d.pop("reranking_ms"))

        total_ms = d.pop("total_ms")

        timing = cls(
            embedding_ms=embedding_ms,
            search_ms=search_ms,
            reranking_ms=reranking_ms,
            total_ms=total_ms,
        )

        timing.additional_properties = d
        return timing

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
