from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define

from ..models.explain_request_snippet import (
    ExplainRequestSnippet,
    check_explain_request_snippet,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="ExplainRequest")


@_attrs_define
class ExplainRequest:
    """A search, and the passages that are expected in its answer.

    Attributes:
        query (None | str | Unset): What to look for, in words.
        top_k (int | Unset): How many hits. Default: 10.
        corpus (str | Unset): What to search: `bible`, a document corpus such as `documents`, or `both`: the Bible and
            every document corpus, of which a filter for one kind selects it. Default: 'both'.
        versions (list[str] | None | Unset): Only these Bible versions.
        language (None | str | Unset): Only versions and documents of this language, such as pt.
        books (list[str] | None | Unset): Only these books, by USFM code or common name.
        chapter_from (int | None | Unset): First chapter.
        chapter_to (int | None | Unset): Last chapter.
        documents (list[str] | None | Unset): Only these documents, by their keys.
        min_score (float | None | Unset): Minimum cosine similarity.
        rerank (bool | Unset): Re-rank the small space's candidates with the large model. Default: False.
        hybrid (bool | Unset): Include full text search; needs `query`. A phrase in double quotes is then required, and
            a word after a minus excluded. Default: False.
        text_weight (float | None | Unset): With `hybrid`: what the words count beside the vector. Unset: the release's.
        text_depth (int | None | Unset): With `hybrid`: hits of either search to merge, at least. Unset: the release's.
        collapse (bool | Unset): One hit per verse, in its best version; one per document, its best passage. Default:
            False.
        context (int | Unset): Passages before and after each document's hit that come with it. Default: 0.
        snippet (ExplainRequestSnippet | Unset): What hits show of their passages, with the query's words marked: the
            part that matches, the full passage, or none. Default: 'part'.
        elements (bool | Unset): Hits also have their passages as elements of a page, made of their Markdown. Default:
            False.
        cross_encoder (bool | None | Unset): Re-rank the hits with the cross-encoder of RAG_RERANK_URL. Unset: if there
            is one and `query` is given.
        vector (list[float] | None | Unset): The query's vector, in the space of the active release.
        rerank_vector (list[float] | None | Unset): With `vector`: the query's vector in the large space.
        expect (list[str] | Unset): Verses such as "Jonah 1:17", in any version or in one ("EN_SAMPLE Jonah 1:17"), or
            keys of documents, with a passage's position after # ("manual.pdf#2").
    """

    query: None | str | Unset = UNSET
    top_k: int | Unset = 10
    corpus: str | Unset = "both"
    versions: list[str] | None | Unset = UNSET
    language: None | str | Unset = UNSET
    books: list[str] | None | Unset = UNSET
    chapter_from: int | None | Unset = UNSET
    chapter_to: int | None | Unset = UNSET
    documents: list[str] | None | Unset = UNSET
    min_score: float | None | Unset = UNSET
    rerank: bool | Unset = False
    hybrid: bool | Unset = False
    text_weight: float | None | Unset = UNSET
    text_depth: int | None | Unset = UNSET
    collapse: bool | Unset = False
    context: int | Unset = 0
    snippet: ExplainRequestSnippet | Unset = "part"
    elements: bool | Unset = False
    cross_encoder: bool | None | Unset = UNSET
    vector: list[float] | None | Unset = UNSET
    rerank_vector: list[float] | None | Unset = UNSET
    expect: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        query: None | str | Unset
        if isinstance(self.query, Unset):
            query = UNSET
        else:
            query = self.query

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

        books: list[str] | None | Unset
        if isinstance(self.books, Unset):
            books = UNSET
        elif isinstance(self.books, list):
            books = self.books

        else:
            books = self.books

        chapter_from: int | None | Unset
        if isinstance(self.chapter_from, Unset):
            chapter_from = UNSET
        else:
            chapter_from = self.chapter_from

        chapter_to: int | None | Unset
        if isinstance(self.chapter_to, Unset):
            chapter_to = UNSET
        else:
            chapter_to = self.chapter_to

        documents: list[str] | None | Unset
        if isinstance(self.documents, Unset):
            documents = UNSET
        elif isinstance(self.documents, list):
            documents = self.documents

        else:
            documents = self.documents

        min_score: float | None | Unset
        if isinstance(self.min_score, Unset):
            min_score = UNSET
        else:
            min_score = self.min_score

        rerank = self.rerank

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

        context = self.context

        snippet: str | Unset = UNSET
        if not isinstance(self.snippet, Unset):
            snippet = self.snippet

        elements = self.elements

        cross_encoder: bool | None | Unset
        if isinstance(self.cross_encoder, Unset):
            cross_encoder = UNSET
        else:
            cross_encoder = self.cross_encoder

        vector: list[float] | None | Unset
        if isinstance(self.vector, Unset):
            vector = UNSET
        elif isinstance(self.vector, list):
            vector = self.vector

        else:
            vector = self.vector

        rerank_vector: list[float] | None | Unset
        if isinstance(self.rerank_vector, Unset):
            rerank_vector = UNSET
        elif isinstance(self.rerank_vector, list):
            rerank_vector = self.rerank_vector

        else:
            rerank_vector = self.rerank_vector

        expect: list[str] | Unset = UNSET
        if not isinstance(self.expect, Unset):
            expect = self.expect

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if query is not UNSET:
            field_dict["query"] = query
        if top_k is not UNSET:
            field_dict["top_k"] = top_k
        if corpus is not UNSET:
            field_dict["corpus"] = corpus
        if versions is not UNSET:
            field_dict["versions"] = versions
        if language is not UNSET:
            field_dict["language"] = language
        if books is not UNSET:
            field_dict["books"] = books
        if chapter_from is not UNSET:
            field_dict["chapter_from"] = chapter_from
        if chapter_to is not UNSET:
            field_dict["chapter_to"] = chapter_to
        if documents is not UNSET:
            field_dict["documents"] = documents
        if min_score is not UNSET:
            field_dict["min_score"] = min_score
        if rerank is not UNSET:
            field_dict["rerank"] = rerank
        if hybrid is not UNSET:
            field_dict["hybrid"] = hybrid
        if text_weight is not UNSET:
            field_dict["text_weight"] = text_weight
        if text_depth is not UNSET:
            field_dict["text_depth"] = text_depth
        if collapse is not UNSET:
            field_dict["collapse"] = collapse
        if context is not UNSET:
            field_dict["context"] = context
        if snippet is not UNSET:
            field_dict["snippet"] = snippet
        if elements is not UNSET:
            field_dict["elements"] = elements
        if cross_encoder is not UNSET:
            field_dict["cross_encoder"] = cross_encoder
        if vector is not UNSET:
            field_dict["vector"] = vector
        if rerank_vector is not UNSET:
            field_dict["rerank_vector"] = rerank_vector
        if expect is not UNSET:
            field_dict["expect"] = expect

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)

        def _parse_query(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        query = _parse_query(d.pop("query", UNSET))

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

        def _parse_books(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                books_type_0 = cast(list[str], data)

                return books_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        books = _parse_books(d.pop("books", UNSET))

        def _parse_chapter_from(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        chapter_from = _parse_chapter_from(d.pop("chapter_from", UNSET))

        def _parse_chapter_to(data: object) -> int | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        chapter_to = _parse_chapter_to(d.pop("chapter_to", UNSET))

        def _parse_documents(data: object) -> list[str] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                documents_type_0 = cast(list[str], data)

                return documents_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        documents = _parse_documents(d.pop("documents", UNSET))

        def _parse_min_score(data: object) -> float | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        min_score = _parse_min_score(d.pop("min_score", UNSET))

        rerank = d.pop("rerank", UNSET)

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

        context = d.pop("context", UNSET)

        _snippet = d.pop("snippet", UNSET)
        snippet: ExplainRequestSnippet | Unset
        if isinstance(_snippet, Unset):
            snippet = UNSET
        else:
            snippet = check_explain_request_snippet(_snippet)

        elements = d.pop("elements", UNSET)

        def _parse_cross_encoder(data: object) -> bool | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        cross_encoder = _parse_cross_encoder(d.pop("cross_encoder", UNSET))

        def _parse_vector(data: object) -> list[float] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                vector_type_0 = cast(list[float], data)

                return vector_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[float] | None | Unset, data)

        vector = _parse_vector(d.pop("vector", UNSET))

        def _parse_rerank_vector(data: object) -> list[float] | None | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                rerank_vector_type_0 = cast(list[float], data)

                return rerank_vector_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[float] | None | Unset, data)

        rerank_vector = _parse_rerank_vector(d.pop("rerank_vector", UNSET))

        expect = cast(list[str], d.pop("expect", UNSET))

        explain_request = cls(
            query=query,
            top_k=top_k,
            corpus=corpus,
            versions=versions,
            language=language,
            books=books,
            chapter_from=chapter_from,
            chapter_to=chapter_to,
            documents=documents,
            min_score=min_score,
            rerank=rerank,
            hybrid=hybrid,
            text_weight=text_weight,
            text_depth=text_depth,
            collapse=collapse,
            context=context,
            snippet=snippet,
            elements=elements,
            cross_encoder=cross_encoder,
            vector=vector,
            rerank_vector=rerank_vector,
            expect=expect,
        )

        return explain_request
