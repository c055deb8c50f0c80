from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attrs import define as _attrs_define

from ..models.priority_rule_priority import (
    PriorityRulePriority,
    check_priority_rule_priority,
)

if TYPE_CHECKING:
    from ..models.size_range import SizeRange


T = TypeVar("T", bound="PriorityRule")


@_attrs_define
class PriorityRule:
    """The priority of files of some sizes.

    Attributes:
        file_size_mb (SizeRange): Sizes in MB; all conditions that are given must hold.
        priority (PriorityRulePriority):
    """

    file_size_mb: SizeRange
    priority: PriorityRulePriority

    def to_dict(self) -> dict[str, Any]:
        file_size_mb = self.file_size_mb.to_dict()

        priority: str = self.priority

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "file_size_mb": file_size_mb,
                "priority": priority,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.size_range import SizeRange

        d = dict(src_dict)
        file_size_mb = SizeRange.from_dict(d.pop("file_size_mb"))

        priority = check_priority_rule_priority(d.pop("priority"))

        priority_rule = cls(
            file_size_mb=file_size_mb,
            priority=priority,
        )

        return priority_rule
