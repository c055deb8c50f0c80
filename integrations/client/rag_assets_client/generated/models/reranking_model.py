from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.reranking_model_outcome import (
    RerankingModelOutcome,
    check_reranking_model_outcome,
)

T = TypeVar("T", bound="RerankingModel")


@_attrs_define
class RerankingModel:
    """What the cross-encoder did.

    Attributes:
        outcome (RerankingModelOutcome): done, or why the hits have the order that they had without it.
        model (None | str):
        candidates (int): Hits that it was given.
    """

    outcome: RerankingModelOutcome
    model: None | str
    candidates: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        outcome: str = self.outcome

        model: None | str
        model = self.model

        candidates = self.candidates

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "outcome": outcome,
                "model": model,
                "candidates": candidates,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        outcome = check_reranking_model_outcome(d.pop("outcome"))

        def _parse_model(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        model = _parse_model(d.pop("model"))

        candidates = d.pop("candidates")

        reranking_model = cls(
            outcome=outcome,
            model=model,
            candidates=candidates,
        )

        reranking_model.additional_properties = d
        return reranking_model

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
