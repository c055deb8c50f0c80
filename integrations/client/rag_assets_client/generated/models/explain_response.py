from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.both_plans_model import BothPlansModel
    from ..models.expected_model import ExpectedModel
    from ..models.explained_document_hit_model import ExplainedDocumentHitModel
    from ..models.explained_hit_model import ExplainedHitModel
    from ..models.plan_model import PlanModel


T = TypeVar("T", bound="ExplainResponse")


@_attrs_define
class ExplainResponse:
    """Hits, best first, each with why it is there; and where each expected passage stands.

    Attributes:
        request_id (str):
        query (None | str):
        release (int): The release that was searched.
        plan (BothPlansModel | PlanModel):
        cross_encoder (bool): Whether `retrieve` re-ranks these hits by a cross-encoder: ranks are those before it.
        hits (list[ExplainedDocumentHitModel | ExplainedHitModel]):
        expected (list[ExpectedModel]):
    """

    request_id: str
    query: None | str
    release: int
    plan: BothPlansModel | PlanModel
    cross_encoder: bool
    hits: list[ExplainedDocumentHitModel | ExplainedHitModel]
    expected: list[ExpectedModel]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.explained_hit_model import ExplainedHitModel
        from ..models.plan_model import PlanModel

        request_id = self.request_id

        query: None | str
        query = self.query

        release = self.release

        plan: dict[str, Any]
        if isinstance(self.plan, PlanModel):
            plan = self.plan.to_dict()
        else:
            plan = self.plan.to_dict()

        cross_encoder = self.cross_encoder

        hits = []
        for hits_item_data in self.hits:
            hits_item: dict[str, Any]
            if isinstance(hits_item_data, ExplainedHitModel):
                hits_item = hits_item_data.to_dict()
            else:
                hits_item = hits_item_data.to_dict()

            hits.append(hits_item)

        expected = []
        for expected_item_data in self.expected:
            expected_item = expected_item_data.to_dict()
            expected.append(expected_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "query": query,
                "release": release,
                "plan": plan,
                "cross_encoder": cross_encoder,
                "hits": hits,
                "expected": expected,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.both_plans_model import BothPlansModel
        from ..models.expected_model import ExpectedModel
        from ..models.explained_document_hit_model import ExplainedDocumentHitModel
        from ..models.explained_hit_model import ExplainedHitModel
        from ..models.plan_model import PlanModel

        d = dict(src_dict)
        request_id = d.pop("request_id")

        def _parse_query(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        query = _parse_query(d.pop("query"))

        release = d.pop("release")

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

        cross_encoder = d.pop("cross_encoder")

        hits = []
        _hits = d.pop("hits")
        for hits_item_data in _hits:

            def _parse_hits_item(
                data: object,
            ) -> ExplainedDocumentHitModel | ExplainedHitModel:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    hits_item_type_0 = ExplainedHitModel.from_dict(data)

                    return hits_item_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                hits_item_type_1 = ExplainedDocumentHitModel.from_dict(data)

                return hits_item_type_1

            hits_item = _parse_hits_item(hits_item_data)

            hits.append(hits_item)

        expected = []
        _expected = d.pop("expected")
        for expected_item_data in _expected:
            expected_item = ExpectedModel.from_dict(expected_item_data)

            expected.append(expected_item)

        explain_response = cls(
            request_id=request_id,
            query=query,
            release=release,
            plan=plan,
            cross_encoder=cross_encoder,
            hits=hits,
            expected=expected,
        )

        explain_response.additional_properties = d
        return explain_response

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
