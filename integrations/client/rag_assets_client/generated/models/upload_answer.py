from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.upload_answer_how import UploadAnswerHow, check_upload_answer_how

T = TypeVar("T", bound="UploadAnswer")


@_attrs_define
class UploadAnswer:
    """A document that was stored in the inbox and waits to be processed.

    Attributes:
        request_id (str):
        key (str): Ask for its state with this.
        path (str):
        bytes_ (int):
        sha256 (str):
        how (UploadAnswerHow): `unchanged`: the very same file was there already.
    """

    request_id: str
    key: str
    path: str
    bytes_: int
    sha256: str
    how: UploadAnswerHow
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        request_id = self.request_id

        key = self.key

        path = self.path

        bytes_ = self.bytes_

        sha256 = self.sha256

        how: str = self.how

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "key": key,
                "path": path,
                "bytes": bytes_,
                "sha256": sha256,
                "how": how,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        request_id = d.pop("request_id")

        key = d.pop("key")

        path = d.pop("path")

        bytes_ = d.pop("bytes")

        sha256 = d.pop("sha256")

        how = check_upload_answer_how(d.pop("how"))

        upload_answer = cls(
            request_id=request_id,
            key=key,
            path=path,
            bytes_=bytes_,
            sha256=sha256,
            how=how,
        )

        upload_answer.additional_properties = d
        return upload_answer

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
