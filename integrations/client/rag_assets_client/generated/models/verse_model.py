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
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="VerseModel")


@_attrs_define
class VerseModel:
    """A verse.

    Attributes:
        asked (bool): false for a neighbour that came with `context`.
        reference (str): For people, such as "John 3:16".
        usfm (str): For programs, such as "JHN 3:16".
        version (str):
        language (str):
        text (str):
        corpus (Literal['bible'] | Unset):  Default: 'bible'.
    """

    asked: bool
    reference: str
    usfm: str
    version: str
    language: str
    text: str
    corpus: Literal["bible"] | Unset = "bible"
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        asked = self.asked

        reference = self.reference

        usfm = self.usfm

        version = self.version

        language = self.language

        text = self.text

        corpus = self.corpus

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "asked": asked,
                "reference": reference,
                "usfm": usfm,
                "version": version,
                "language": language,
                "text": text,
            }
        )
        if corpus is not UNSET:
            field_dict["corpus"] = corpus

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        asked = d.pop("asked")

        reference = d.pop("reference")

        usfm = d.pop("usfm")

        version = d.pop("version")

        language = d.pop("language")

        text = d.pop("text")

        corpus = cast(Literal["bible"] | Unset, d.pop("corpus", UNSET))
        if corpus != "bible" and not isinstance(corpus, Unset):
            raise ValueError(f"corpus must match const 'bible', got '{corpus}'")

        verse_model = cls(
            asked=asked,
            reference=reference,
            usfm=usfm,
            version=version,
            language=language,
            text=text,
            corpus=corpus,
        )

        verse_model.additional_properties = d
        return verse_model

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
