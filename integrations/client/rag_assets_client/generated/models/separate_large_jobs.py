from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="SeparateLargeJobs")


@_attrs_define
class SeparateLargeJobs:
    """Which waiting documents move to the lane of large ones.

    Attributes:
        size_threshold_mb (float): Files of this size or more.
        target_queue (Literal['rag_large_docs'] | Unset): The lane. Default: 'rag_large_docs'.
    """

    size_threshold_mb: float
    target_queue: Literal["rag_large_docs"] | Unset = "rag_large_docs"

    def to_dict(self) -> dict[str, Any]:
        size_threshold_mb = self.size_threshold_mb

        target_queue = self.target_queue

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "size_threshold_mb": size_threshold_mb,
            }
        )
        if target_queue is not UNSET:
            field_dict["target_queue"] = target_queue

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        size_threshold_mb = d.pop("size_threshold_mb")

        target_queue = cast(
            Literal["rag_large_docs"] | Unset, d.pop("target_queue", UNSET)
        )
        if target_queue != "rag_large_docs" and not isinstance(target_queue, Unset):
            raise ValueError(
                f"target_queue must match const 'rag_large_docs', got '{target_queue}'"
            )

        separate_large_jobs = cls(
            size_threshold_mb=size_threshold_mb,
            target_queue=target_queue,
        )

        return separate_large_jobs
