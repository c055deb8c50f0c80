from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.element_kind import ElementKind, check_element_kind
from ..models.element_tag_type_0 import ElementTagType0, check_element_tag_type_0
from ..types import UNSET, Unset

T = TypeVar("T", bound="Element")


@_attrs_define
class Element:
    """The beginning or the end of an element, or a text in it.

    :param match: the text is a word of the query.

        Attributes:
            kind (ElementKind):
            tag (ElementTagType0 | None | Unset):
            text (str | Unset):  Default: ''.
            match (bool | Unset):  Default: False.
    """

    kind: ElementKind
    tag: ElementTagType0 | None | Unset = UNSET
    text: str | Unset = ""
    match: bool | Unset = False
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        kind: str = self.kind

        tag: None | str | Unset
        if isinstance(self.tag, Unset):
            tag = UNSET
        elif isinstance(self.tag, str):
            tag = self.tag
        else:
            tag = self.tag

        text = self.text

        match = self.match

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "kind": kind,
            }
        )
        if tag is not UNSET:
            field_dict["tag"] = tag
        if text is not UNSET:
            field_dict["text"] = text
        if match is not UNSET:
            field_dict["match"] = match

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        kind = check_element_kind(d.pop("kind"))

        def _parse_tag(data: object) -> ElementTagType0 | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                tag_type_0 = check_element_tag_type_0(data)

                return tag_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ElementTagType0 | None | Unset, data)

        tag = _parse_tag(d.pop("tag", UNSET))

        text = d.pop("text", UNSET)

        match = d.pop("match", UNSET)

        element = cls(
            kind=kind,
            tag=tag,
            text=text,
            match=match,
        )

        element.additional_properties = d
        return element

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
