from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.eval_result import EvalResult


T = TypeVar("T", bound="EvalResponse")


@_attrs_define
class EvalResponse:
    """The results of all queries.

    ``hit_at_k`` is the share of the queries with an expectation that met it; ``coverage`` is the
    share of all queries that returned ``top_k`` hits.

        Attributes:
            request_id (str):
            release (int):
            queries (int):
            expecting (int):
            hit_at_k (float | None):
            coverage (float):
            p50_ms (float):
            p95_ms (float):
            results (list[EvalResult]):
    """

    request_id: str
    release: int
    queries: int
    expecting: int
    hit_at_k: float | None
    coverage: float
    p50_ms: float
    p95_ms: float
    results: list[EvalResult]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        request_id = self.request_id

        release = self.release

        queries = self.queries

        expecting = self.expecting

        hit_at_k: float | None
        hit_at_k = self.hit_at_k

        coverage = self.coverage

        p50_ms = self.p50_ms

        p95_ms = self.p95_ms

        results = []
        for results_item_data in self.results:
            results_item = results_item_data.to_dict()
            results.append(results_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "release": release,
                "queries": queries,
                "expecting": expecting,
                "hit_at_k": hit_at_k,
                "coverage": coverage,
                "p50_ms": p50_ms,
                "p95_ms": p95_ms,
                "results": results,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.eval_result import EvalResult

        d = dict(src_dict)
        request_id = d.pop("request_id")

        release = d.pop("release")

        queries = d.pop("queries")

        expecting = d.pop("expecting")

        def _parse_hit_at_k(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        hit_at_k = _parse_hit_at_k(d.pop("hit_at_k"))

        coverage = d.pop("coverage")

        p50_ms = d.pop("p50_ms")

        p95_ms = d.pop("p95_ms")

        results = []
        _results = d.pop("results")
        for results_item_data in _results:
            results_item = EvalResult.from_dict(results_item_data)

            results.append(results_item)

        eval_response = cls(
            request_id=request_id,
            release=release,
            queries=queries,
            expecting=expecting,
            hit_at_k=hit_at_k,
            coverage=coverage,
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            results=results,
        )

        eval_response.additional_properties = d
        return eval_response

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
