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
    share of all queries that returned ``top_k`` hits. A figure that ``top_k`` hits cannot show is
    null.

        Attributes:
            request_id (str):
            release (int):
            queries (int):
            expecting (int):
            hit_at_k (float | None):
            hit_at_1 (float | None):
            hit_at_10 (float | None):
            mrr_at_10 (float | None):
            ndcg_at_10 (float | None):
            recall_at_100 (float | None):
            wrong_first (int): Queries whose first hit must not be first.
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
    hit_at_1: float | None
    hit_at_10: float | None
    mrr_at_10: float | None
    ndcg_at_10: float | None
    recall_at_100: float | None
    wrong_first: int
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

        hit_at_1: float | None
        hit_at_1 = self.hit_at_1

        hit_at_10: float | None
        hit_at_10 = self.hit_at_10

        mrr_at_10: float | None
        mrr_at_10 = self.mrr_at_10

        ndcg_at_10: float | None
        ndcg_at_10 = self.ndcg_at_10

        recall_at_100: float | None
        recall_at_100 = self.recall_at_100

        wrong_first = self.wrong_first

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
                "hit_at_1": hit_at_1,
                "hit_at_10": hit_at_10,
                "mrr_at_10": mrr_at_10,
                "ndcg_at_10": ndcg_at_10,
                "recall_at_100": recall_at_100,
                "wrong_first": wrong_first,
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

        def _parse_hit_at_1(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        hit_at_1 = _parse_hit_at_1(d.pop("hit_at_1"))

        def _parse_hit_at_10(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        hit_at_10 = _parse_hit_at_10(d.pop("hit_at_10"))

        def _parse_mrr_at_10(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        mrr_at_10 = _parse_mrr_at_10(d.pop("mrr_at_10"))

        def _parse_ndcg_at_10(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        ndcg_at_10 = _parse_ndcg_at_10(d.pop("ndcg_at_10"))

        def _parse_recall_at_100(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        recall_at_100 = _parse_recall_at_100(d.pop("recall_at_100"))

        wrong_first = d.pop("wrong_first")

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
            hit_at_1=hit_at_1,
            hit_at_10=hit_at_10,
            mrr_at_10=mrr_at_10,
            ndcg_at_10=ndcg_at_10,
            recall_at_100=recall_at_100,
            wrong_first=wrong_first,
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
