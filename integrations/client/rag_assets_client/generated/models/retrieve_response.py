from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.both_plans_model import BothPlansModel
    from ..models.document_hit_model import DocumentHitModel
    from ..models.hit_model import HitModel
    from ..models.plan_model import PlanModel
    from ..models.reranking_model import RerankingModel
    from ..models.timing import Timing


T = TypeVar("T", bound="RetrieveResponse")


@_attrs_define
class RetrieveResponse:
    """Hits, best first.

    Attributes:
        request_id (str):
        release (int): The release that was searched.
        k_returned (int):
        why_fewer (None | str): Why there are fewer hits than `top_k`.
        plan (BothPlansModel | PlanModel):
        reranking (None | RerankingModel): null if no cross-encoder was called.
        timing (Timing): Milliseconds.
        hits (list[DocumentHitModel | HitModel]):
    """

    request_id: str
    release: int
    k_returned: int
    why_fewer: None | str
    plan: BothPlansModel | PlanModel
    reranking: None | RerankingModel
    timing: Timing
    hits: list[DocumentHitModel | HitModel]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.hit_model import HitModel
        from ..models.plan_model import PlanModel
        from ..models.reranking_model import RerankingModel

        request_id = self.request_id

        release = self.release

        k_returned = self.k_returned

        why_fewer: None | str
        why_fewer = self.why_fewer

        plan: dict[str, Any]
        if isinstance(self.plan, PlanModel):
            plan = self.plan.to_dict()
        else:
            plan = self.plan.to_dict()

        reranking: dict[str, Any] | None
        if isinstance(self.reranking, RerankingModel):
            reranking = self.reranking.to_dict()
        else:
            reranking = self.reranking

        timing = self.timing.to_dict()

        hits = []
        for hits_item_data in self.hits:
            hits_item: dict[str, Any]
            if isinstance(hits_item_data, HitModel):
                hits_item = hits_item_data.to_dict()
            else:
                hits_item = hits_item_data.to_dict()

            hits.append(hits_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "release": release,
                "k_returned": k_returned,
                "why_fewer": why_fewer,
                "plan": plan,
                "reranking": reranking,
                "timing": timing,
                "hits": hits,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.both_plans_model import BothPlansModel
        from ..models.document_hit_model import DocumentHitModel
        from ..models.hit_model import HitModel
        from ..models.plan_model import PlanModel
        from ..models.reranking_model import RerankingModel
        from ..models.timing import Timing

        d = dict(src_dict)
        request_id = d.pop("request_id")

        release = d.pop("release")

        k_returned = d.pop("k_returned")

        def _parse_why_fewer(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        why_fewer = _parse_why_fewer(d.pop("why_fewer"))

        def _parse_plan(data: object) -> BothPlansModel | PlanModel:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                plan_type_0 = PlanModel.from_dict(data)

                return plan_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            plan_type_1 = BothPlansModel.from_dict(data)

            return plan_type_1

        plan = _parse_plan(d.pop("plan"))

        def _parse_reranking(data: object) -> None | RerankingModel:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                reranking_type_0 = RerankingModel.from_dict(data)

                return reranking_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RerankingModel, data)

        reranking = _parse_reranking(d.pop("reranking"))

        timing = Timing.from_dict(d.pop("timing"))

        hits = []
        _hits = d.pop("hits")
        for hits_item_data in _hits:

            def _parse_hits_item(data: object) -> DocumentHitModel | HitModel:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    hits_item_type_0 = HitModel.from_dict(data)

                    return hits_item_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                hits_item_type_1 = DocumentHitModel.from_dict(data)

                return hits_item_type_1

            hits_item = _parse_hits_item(hits_item_data)

            hits.append(hits_item)

        retrieve_response = cls(
            request_id=request_id,
            release=release,
            k_returned=k_returned,
            why_fewer=why_fewer,
            plan=plan,
            reranking=reranking,
            timing=timing,
            hits=hits,
        )

        retrieve_response.additional_properties = d
        return retrieve_response

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
