from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.eval_query import EvalQuery


T = TypeVar("T", bound="EvalRequest")


@_attrs_define
class EvalRequest:
    """Queries, and how to search with all of them.

    Attributes:
        queries (list[EvalQuery]):
        top_k (int | Unset):  Default: 10.
        corpus (str | Unset):  Default: 'bible'.
        versions (list[str] | None | Unset):
        language (None | str | Unset):
        hybrid (bool | Unset):  Default: False.
        text_weight (float | None | Unset):
        text_depth (int | None | Unset):
        collapse (bool | Unset):  Default: False.
        cross_encoder (bool | None | Unset): Re-rank the hits with the cross-encoder of RAG_RERANK_URL. Unset: if there
            is one and `query` is given.
    """

    queries: list[EvalQuery]
    top_k: int | Unset = 10
    corpus: str | Unset = "bible"
    versions: list[str] | None | Unset = UNSET
    language: None | str | Unset = UNSET
    hybrid: bool | Unset = False
    text_weight: float | None | Unset = UNSET
    text_depth: int | None | Unset = UNSET
    collapse: bool | Unset = False
    cross_encoder: bool | None | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        queries = []
        for queries_item_data in self.queries:
            queries_item = queries_item_data.to_dict()
            queries.append(queries_item)

        top_k = self.top_k

        corpus = self.corpus

        versions: list[str] | None | Unset
        if isinstance(self.versions, Unset):
            versions = UNSET
        elif isinstance(self.versions, list):
            versions = self.versions

        else:
            versions = self.versions

        language: None | str | Unset
        if isinstance(self.language, Unset):
            language = UNSET
        else:
            language = self.language

        hybrid = self.hybrid

        text_weight: float | None | Unset
        if isinstance(self.text_weight, Unset):
            text_weight = UNSET
        else:
            text_weight = self.text_weight

        text_depth: int | None | Unset
        if isinstance(self.text_depth, Unset):
            text_depth = UNSET
        else:
            text_depth = self.text_depth

        collapse = self.collapse

        cross_encoder: bool | None | Unset
        if isinstance(self.cross_encoder, Unset):
            cross_encoder = UNSET
        else:
            cross_encoder = self.cross_encoder

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "queries": queries,
            }
        )
        if top_k is not UNSET:
            field_dict["top_k"] = top_k
        if corpus is not UNSET:
            field_dict["corpus"] = corpus
        if versions is not UNSET:
            field_dict["versions"] = versions
        if language is not UNSET:
            field_dict["language"] = language
        if hybrid is not UNSET:
            field_dict["hybrid"] = hybrid
        if text_weight is not UNSET:
            field_dict["text_weight"] = text_weight
        if text_depth is not UNSET:
            field_dict["text_depth"] = text_depth
        if collapse is not UNSET:
            field_dict["collapse"] = collapse
        if cross_encoder is not UNSET:
            field_dict["cross_encoder"] = cross_encoder

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.eval_query import EvalQuery

        d = dict(src_dict)
        queries = []
        _queries = d.pop("queries")
        for queries_item_data in _queries:
            queries_item = EvalQuery.from_dict(queries_item_data)

            queries.append(queries_item)

        top_k = d.pop("top_k", UNSET)

        corpus = d.pop("corpus", UNSET)

        def _parse_versions(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                versions_type_0 = cast(list[str], data)

                return versions_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        versions = _parse_versions(d.pop("versions", UNSET))

        def _parse_language(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        language = _parse_language(d.pop("language", UNSET))

        hybrid = d.pop("hybrid", UNSET)

        def _parse_text_weight(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        text_weight = _parse_text_weight(d.pop("text_weight", UNSET))

        def _parse_text_depth(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        text_depth = _parse_text_depth(d.pop("text_depth", UNSET))

        collapse = d.pop("collapse", UNSET)

        def _parse_cross_encoder(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        cross_encoder = _parse_cross_encoder(d.pop("cross_encoder", UNSET))

        eval_request = cls(
            queries=queries,
            top_k=top_k,
            corpus=corpus,
            versions=versions,
            language=language,
            hybrid=hybrid,
            text_weight=text_weight,
            text_depth=text_depth,
            collapse=collapse,
            cross_encoder=cross_encoder,
        )

        return eval_request
