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


T = TypeVar("T", bound="ExplainedDocumentHitModel")


@_attrs_define
class ExplainedDocumentHitModel:
    """A passage of a document, and why it is there.

    Attributes:
        rank (int):
        document_corpus (str): The document corpus, as `corpus` of a request.
        reference (str): For people: the title, and the page or heading.
        document (str): The document's key.
        title (str):
        page (int | None): The page that it begins on, from 1, if there are pages.
        heading (list[str]): Headings above it, the outermost first.
        position (int): Position of the passage in its document, from 1.
        language (str):
        text (str): The whole passage, whatever `snippet` is.
        snippet (list[Part] | None): What to show of the passage, in parts; `match` is true for words of the query. The
            parts are text, not HTML. null for `snippet: none`.
        elements (list[Element] | None): With `elements`: the passage as elements of a page, in document order.
        score (float): Cosine similarity, from -1 to 1.
        relevance (float | None): The cross-encoder's score, if it ranked the hits; on its own scale.
        source (str): What found it: vector, text or both.
        before (list[str]): With `context`: the passages before it, in order.
        after (list[str]): With `context`: the passages after it, in order.
        why (WhyModel): Where a hit comes from, and how it was found.
        corpus (Literal['documents'] | Unset):  Default: 'documents'.
    """

    rank: int
    document_corpus: str
    reference: str
    document: str
    title: str
    page: int | None
    heading: list[str]
    position: int
    language: str
    text: str
    snippet: list[Part] | None
    elements: list[Element] | None
    score: float
    relevance: float | None
    source: str
    before: list[str]
    after: list[str]
    why: WhyModel
    corpus: Literal["documents"] | Unset = "documents"
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        rank = self.rank

        document_corpus = self.document_corpus

        reference = self.reference

        document = self.document

        title = self.title

        page: int | None
        page = self.page

        heading = self.heading

        position = self.position

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

        before = self.before

        after = self.after

        why = self.why.to_dict()

        corpus = self.corpus

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "rank": rank,
                "document_corpus": document_corpus,
                "reference": reference,
                "document": document,
                "title": title,
                "page": page,
                "heading": heading,
                "position": position,
                "language": language,
                "text": text,
                "snippet": snippet,
                "elements": elements,
                "score": score,
                "relevance": relevance,
                "source": source,
                "before": before,
                "after": after,
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

        document_corpus = d.pop("document_corpus")

        reference = d.pop("reference")

        document = d.pop("document")

        title = d.pop("title")

        def _parse_page(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        page = _parse_page(d.pop("page"))

        heading = cast(list[str], d.pop("heading"))

        position = d.pop("position")

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

        before = cast(list[str], d.pop("before"))

        after = cast(list[str], d.pop("after"))

        why = WhyModel.from_dict(d.pop("why"))

        corpus = cast(Literal["documents"] | Unset, d.pop("corpus", UNSET))
        if corpus != "documents" and not isinstance(corpus, Unset):
            raise ValueError(f"corpus must match const 'documents', got '{corpus}'")

        explained_document_hit_model = cls(
            rank=rank,
            document_corpus=document_corpus,
            reference=reference,
            document=document,
            title=title,
            page=page,
            heading=heading,
            position=position,
            language=language,
            text=text,
            snippet=snippet,
            elements=elements,
            score=score,
            relevance=relevance,
            source=source,
            before=before,
            after=after,
            why=why,
            corpus=corpus,
        )

        explained_document_hit_model.additional_properties = d
        return explained_document_hit_model

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
