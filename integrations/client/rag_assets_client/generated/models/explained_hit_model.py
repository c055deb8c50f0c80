from __future__ import annotations

from collections.abc import Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.element import Element
    from ..models.part import Part
    from ..models.why_model import WhyModel


T = TypeVar("T", bound="ExplainedHitModel")


@_attrs_define
class ExplainedHitModel:
    """A verse, and why it is there.

    Attributes:
        rank (int):
        reference (str): For people, such as "John 3:16", in the hit's language.
        usfm (str): For programs, such as "JHN 3:16".
        version (str):
        language (str):
        text (str): The whole passage, whatever `snippet` is.
        snippet (list[Part] | None): What to show of the passage, in parts; `match` is true for words of the query. The
            parts are text, not HTML. null for `snippet: none`.
        elements (list[Element] | None): With `elements`: the passage as elements of a page, in document order.
        score (float): Cosine similarity, from -1 to 1.
        relevance (float | None): The cross-encoder's score, if it ranked the hits; on its own scale.
        source (str): What found it: vector, text or both.
        also (list[str]): With `collapse`: other versions of the verse found.
        why (WhyModel): Where a hit comes from, and how it was found.
        corpus (Literal['bible'] | Unset):  Default: 'bible'.
    """

    rank: int
    reference: str
    usfm: str
    version: str
    language: str
    text: str
    snippet: list[Part] | None
    elements: list[Element] | None
    score: float
    relevance: float | None
    source: str
    also: list[str]
    why: WhyModel
    corpus: Literal["bible"] | Unset = "bible"
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        rank = self.rank

        reference = self.reference

        usfm = self.usfm

        version = self.version

        language = self.language

        text = self.text

        snippet: list[dict[str, Any]] | None
        if isinstance(self.snippet, list):
            snippet = []
            for snippet_type_0_item_data in self.snippet:
                snippet_type_0_item = snippet_type_0_item_data.to_dict()
                snippet.append(snippet_type_0_item)

        else:
            snippet = self.snippet

        elements: list[dict[str, Any]] | None
        if isinstance(self.elements, list):
            elements = []
            for elements_type_0_item_data in self.elements:
                elements_type_0_item = elements_type_0_item_data.to_dict()
                elements.append(elements_type_0_item)

        else:
            elements = self.elements

        score = self.score

        relevance: float | None
        relevance = self.relevance

        source = self.source

        also = self.also

        why = self.why.to_dict()

        corpus = self.corpus

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "rank": rank,
                "reference": reference,
                "usfm": usfm,
                "version": version,
                "language": language,
                "text": text,
                "snippet": snippet,
                "elements": elements,
                "score": score,
                "relevance": relevance,
                "source": source,
                "also": also,
                "why": why,
            }
        )
        if corpus is not UNSET:
            field_dict["corpus"] = corpus

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.element import Element
        from ..models.part import Part
        from ..models.why_model import WhyModel

        d = dict(src_dict)
        rank = d.pop("rank")

        reference = d.pop("reference")

        usfm = d.pop("usfm")

        version = d.pop("version")

        language = d.pop("language")

        text = d.pop("text")

        def _parse_snippet(data: object) -> list[Part] | None:
            if data is None:
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                snippet_type_0 = []
                _snippet_type_0 = data
                for snippet_type_0_item_data in _snippet_type_0:
                    snippet_type_0_item = Part.from_dict(snippet_type_0_item_data)

                    snippet_type_0.append(snippet_type_0_item)

                return snippet_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[Part] | None, data)

        snippet = _parse_snippet(d.pop("snippet"))

        def _parse_elements(data: object) -> list[Element] | None:
            if data is None:
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                elements_type_0 = []
                _elements_type_0 = data
                for elements_type_0_item_data in _elements_type_0:
                    elements_type_0_item = Element.from_dict(elements_type_0_item_data)

                    elements_type_0.append(elements_type_0_item)

                return elements_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[Element] | None, data)

        elements = _parse_elements(d.pop("elements"))

        score = d.pop("score")

        def _parse_relevance(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        relevance = _parse_relevance(d.pop("relevance"))

        source = d.pop("source")

        also = cast(list[str], d.pop("also"))

        why = WhyModel.from_dict(d.pop("why"))

        corpus = cast(Literal["bible"] | Unset, d.pop("corpus", UNSET))
        if corpus != "bible" and not isinstance(corpus, Unset):
            raise ValueError(f"corpus must match const 'bible', got '{corpus}'")

        explained_hit_model = cls(
            rank=rank,
            reference=reference,
            usfm=usfm,
            version=version,
            language=language,
            text=text,
            snippet=snippet,
            elements=elements,
            score=score,
            relevance=relevance,
            source=source,
            also=also,
            why=why,
            corpus=corpus,
        )

        explained_hit_model.additional_properties = d
        return explained_hit_model

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
