from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.expected_model_corpus import (
    ExpectedModelCorpus,
    check_expected_model_corpus,
)
from ..models.expected_model_stage import ExpectedModelStage, check_expected_model_stage

if TYPE_CHECKING:
    from ..models.plan_rank_model import PlanRankModel
    from ..models.ranks_model import RanksModel


T = TypeVar("T", bound="ExpectedModel")


@_attrs_define
class ExpectedModel:
    """Where an expected passage stands, and where it stopped if it is not in the answer.

    Attributes:
        passage (str): As it was asked for.
        reference (str): The passage that this is about, such as "EN_SAMPLE Jonah 1:17": of a verse in several versions,
            each.
        corpus (ExpectedModelCorpus):
        found (bool): Whether it is in the answer.
        stage (ExpectedModelStage): Where it stopped, or `found`.
        reason (str): One sentence of cause.
        next_command (None | str): The next command to type.
        score (float | None): Cosine similarity, if it has a vector.
        ranks (RanksModel): Where a passage stands after each step of the search, from 1; null where it is not.
        plans (list[PlanRankModel]): Its rank in each plan of search.
    """

    passage: str
    reference: str
    corpus: ExpectedModelCorpus
    found: bool
    stage: ExpectedModelStage
    reason: str
    next_command: None | str
    score: float | None
    ranks: RanksModel
    plans: list[PlanRankModel]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        passage = self.passage

        reference = self.reference

        corpus: str = self.corpus

        found = self.found

        stage: str = self.stage

        reason = self.reason

        next_command: None | str
        next_command = self.next_command

        score: float | None
        score = self.score

        ranks = self.ranks.to_dict()

        plans = []
        for plans_item_data in self.plans:
            plans_item = plans_item_data.to_dict()
            plans.append(plans_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "passage": passage,
                "reference": reference,
                "corpus": corpus,
                "found": found,
                "stage": stage,
                "reason": reason,
                "next_command": next_command,
                "score": score,
                "ranks": ranks,
                "plans": plans,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.plan_rank_model import PlanRankModel
        from ..models.ranks_model import RanksModel

        d = dict(src_dict)
        passage = d.pop("passage")

        reference = d.pop("reference")

        corpus = check_expected_model_corpus(d.pop("corpus"))

        found = d.pop("found")

        stage = check_expected_model_stage(d.pop("stage"))

        reason = d.pop("reason")

        def _parse_next_command(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        next_command = _parse_next_command(d.pop("next_command"))

        def _parse_score(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        score = _parse_score(d.pop("score"))

        ranks = RanksModel.from_dict(d.pop("ranks"))

        plans = []
        _plans = d.pop("plans")
        for plans_item_data in _plans:
            plans_item = PlanRankModel.from_dict(plans_item_data)

            plans.append(plans_item)

        expected_model = cls(
            passage=passage,
            reference=reference,
            corpus=corpus,
            found=found,
            stage=stage,
            reason=reason,
            next_command=next_command,
            score=score,
            ranks=ranks,
            plans=plans,
        )

        expected_model.additional_properties = d
        return expected_model

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
