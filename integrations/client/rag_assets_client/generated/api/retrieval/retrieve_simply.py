from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem import Problem
from ...models.retrieve_response import RetrieveResponse
from ...models.retrieve_simply_snippet import (
    RetrieveSimplySnippet,
)
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    query: None | str | Unset = UNSET,
    top_k: int | Unset = 10,
    corpus: str | Unset = "both",
    versions: list[str] | None | Unset = UNSET,
    language: None | str | Unset = UNSET,
    books: list[str] | None | Unset = UNSET,
    chapter_from: int | None | Unset = UNSET,
    chapter_to: int | None | Unset = UNSET,
    documents: list[str] | None | Unset = UNSET,
    min_score: float | None | Unset = UNSET,
    rerank: bool | Unset = False,
    hybrid: bool | Unset = False,
    text_weight: float | None | Unset = UNSET,
    text_depth: int | None | Unset = UNSET,
    collapse: bool | Unset = False,
    context: int | Unset = 0,
    snippet: RetrieveSimplySnippet | Unset = "part",
    elements: bool | Unset = False,
    cross_encoder: bool | None | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_query: None | str | Unset
    if isinstance(query, Unset):
        json_query = UNSET
    else:
        json_query = query
    params["query"] = json_query

    params["top_k"] = top_k

    params["corpus"] = corpus

    json_versions: list[str] | None | Unset
    if isinstance(versions, Unset):
        json_versions = UNSET
    elif isinstance(versions, list):
        json_versions = versions

    else:
        json_versions = versions
    params["versions"] = json_versions

    json_language: None | str | Unset
    if isinstance(language, Unset):
        json_language = UNSET
    else:
        json_language = language
    params["language"] = json_language

    json_books: list[str] | None | Unset
    if isinstance(books, Unset):
        json_books = UNSET
    elif isinstance(books, list):
        json_books = books

    else:
        json_books = books
    params["books"] = json_books

    json_chapter_from: int | None | Unset
    if isinstance(chapter_from, Unset):
        json_chapter_from = UNSET
    else:
        json_chapter_from = chapter_from
    params["chapter_from"] = json_chapter_from

    json_chapter_to: int | None | Unset
    if isinstance(chapter_to, Unset):
        json_chapter_to = UNSET
    else:
        json_chapter_to = chapter_to
    params["chapter_to"] = json_chapter_to

    json_documents: list[str] | None | Unset
    if isinstance(documents, Unset):
        json_documents = UNSET
    elif isinstance(documents, list):
        json_documents = documents

    else:
        json_documents = documents
    params["documents"] = json_documents

    json_min_score: float | None | Unset
    if isinstance(min_score, Unset):
        json_min_score = UNSET
    else:
        json_min_score = min_score
    params["min_score"] = json_min_score

    params["rerank"] = rerank

    params["hybrid"] = hybrid

    json_text_weight: float | None | Unset
    if isinstance(text_weight, Unset):
        json_text_weight = UNSET
    else:
        json_text_weight = text_weight
    params["text_weight"] = json_text_weight

    json_text_depth: int | None | Unset
    if isinstance(text_depth, Unset):
        json_text_depth = UNSET
    else:
        json_text_depth = text_depth
    params["text_depth"] = json_text_depth

    params["collapse"] = collapse

    params["context"] = context

    json_snippet: str | Unset = UNSET
    if not isinstance(snippet, Unset):
        json_snippet = snippet

    params["snippet"] = json_snippet

    params["elements"] = elements

    json_cross_encoder: bool | None | Unset
    if isinstance(cross_encoder, Unset):
        json_cross_encoder = UNSET
    else:
        json_cross_encoder = cross_encoder
    params["cross_encoder"] = json_cross_encoder

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/ai/rag/retrieve",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Problem | RetrieveResponse | None:
    if response.status_code == 200:
        response_200 = RetrieveResponse.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Problem.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Problem.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Problem.from_dict(response.json())

        return response_403

    if response.status_code == 408:
        response_408 = Problem.from_dict(response.json())

        return response_408

    if response.status_code == 413:
        response_413 = Problem.from_dict(response.json())

        return response_413

    if response.status_code == 422:
        response_422 = Problem.from_dict(response.json())

        return response_422

    if response.status_code == 429:
        response_429 = Problem.from_dict(response.json())

        return response_429

    if response.status_code == 502:
        response_502 = Problem.from_dict(response.json())

        return response_502

    if response.status_code == 503:
        response_503 = Problem.from_dict(response.json())

        return response_503

    if response.status_code == 504:
        response_504 = Problem.from_dict(response.json())

        return response_504

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Problem | RetrieveResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    query: None | str | Unset = UNSET,
    top_k: int | Unset = 10,
    corpus: str | Unset = "both",
    versions: list[str] | None | Unset = UNSET,
    language: None | str | Unset = UNSET,
    books: list[str] | None | Unset = UNSET,
    chapter_from: int | None | Unset = UNSET,
    chapter_to: int | None | Unset = UNSET,
    documents: list[str] | None | Unset = UNSET,
    min_score: float | None | Unset = UNSET,
    rerank: bool | Unset = False,
    hybrid: bool | Unset = False,
    text_weight: float | None | Unset = UNSET,
    text_depth: int | None | Unset = UNSET,
    collapse: bool | Unset = False,
    context: int | Unset = 0,
    snippet: RetrieveSimplySnippet | Unset = "part",
    elements: bool | Unset = False,
    cross_encoder: bool | None | Unset = UNSET,
) -> Response[Problem | RetrieveResponse]:
    """The same for a simple query

     Search with parameters only; vectors need POST.

    Args:
        query (None | str | Unset): What to look for, in words.
        top_k (int | Unset): How many hits. Default: 10.
        corpus (str | Unset): What to search: `bible`, a document corpus such as `documents`, or
            `both`: the Bible and every document corpus, of which a filter for one kind selects it.
            Default: 'both'.
        versions (list[str] | None | Unset): Only these Bible versions.
        language (None | str | Unset): Only versions and documents of this language, such as pt.
        books (list[str] | None | Unset): Only these books, by USFM code or common name.
        chapter_from (int | None | Unset): First chapter.
        chapter_to (int | None | Unset): Last chapter.
        documents (list[str] | None | Unset): Only these documents, by their keys.
        min_score (float | None | Unset): Minimum cosine similarity.
        rerank (bool | Unset): Re-rank the small space's candidates with the large model. Default:
            False.
        hybrid (bool | Unset): Include full text search; needs `query`. A phrase in double quotes
            is then required, and a word after a minus excluded. Default: False.
        text_weight (float | None | Unset): With `hybrid`: what the words count beside the vector.
            Unset: the release's.
        text_depth (int | None | Unset): With `hybrid`: hits of either search to merge, at least.
            Unset: the release's.
        collapse (bool | Unset): One hit per verse, in its best version; one per document, its
            best passage. Default: False.
        context (int | Unset): Passages before and after each document's hit that come with it.
            Default: 0.
        snippet (RetrieveSimplySnippet | Unset): What hits show of their passages, with the
            query's words marked: the part that matches, the full passage, or none. Default: 'part'.
        elements (bool | Unset): Hits also have their passages as elements of a page, made of
            their Markdown. Default: False.
        cross_encoder (bool | None | Unset): Re-rank the hits with the cross-encoder of
            RAG_RERANK_URL. Unset: if there is one and `query` is given.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | RetrieveResponse]
    """

    kwargs = _get_kwargs(
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
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    query: None | str | Unset = UNSET,
    top_k: int | Unset = 10,
    corpus: str | Unset = "both",
    versions: list[str] | None | Unset = UNSET,
    language: None | str | Unset = UNSET,
    books: list[str] | None | Unset = UNSET,
    chapter_from: int | None | Unset = UNSET,
    chapter_to: int | None | Unset = UNSET,
    documents: list[str] | None | Unset = UNSET,
    min_score: float | None | Unset = UNSET,
    rerank: bool | Unset = False,
    hybrid: bool | Unset = False,
    text_weight: float | None | Unset = UNSET,
    text_depth: int | None | Unset = UNSET,
    collapse: bool | Unset = False,
    context: int | Unset = 0,
    snippet: RetrieveSimplySnippet | Unset = "part",
    elements: bool | Unset = False,
    cross_encoder: bool | None | Unset = UNSET,
) -> Problem | RetrieveResponse | None:
    """The same for a simple query

     Search with parameters only; vectors need POST.

    Args:
        query (None | str | Unset): What to look for, in words.
        top_k (int | Unset): How many hits. Default: 10.
        corpus (str | Unset): What to search: `bible`, a document corpus such as `documents`, or
            `both`: the Bible and every document corpus, of which a filter for one kind selects it.
            Default: 'both'.
        versions (list[str] | None | Unset): Only these Bible versions.
        language (None | str | Unset): Only versions and documents of this language, such as pt.
        books (list[str] | None | Unset): Only these books, by USFM code or common name.
        chapter_from (int | None | Unset): First chapter.
        chapter_to (int | None | Unset): Last chapter.
        documents (list[str] | None | Unset): Only these documents, by their keys.
        min_score (float | None | Unset): Minimum cosine similarity.
        rerank (bool | Unset): Re-rank the small space's candidates with the large model. Default:
            False.
        hybrid (bool | Unset): Include full text search; needs `query`. A phrase in double quotes
            is then required, and a word after a minus excluded. Default: False.
        text_weight (float | None | Unset): With `hybrid`: what the words count beside the vector.
            Unset: the release's.
        text_depth (int | None | Unset): With `hybrid`: hits of either search to merge, at least.
            Unset: the release's.
        collapse (bool | Unset): One hit per verse, in its best version; one per document, its
            best passage. Default: False.
        context (int | Unset): Passages before and after each document's hit that come with it.
            Default: 0.
        snippet (RetrieveSimplySnippet | Unset): What hits show of their passages, with the
            query's words marked: the part that matches, the full passage, or none. Default: 'part'.
        elements (bool | Unset): Hits also have their passages as elements of a page, made of
            their Markdown. Default: False.
        cross_encoder (bool | None | Unset): Re-rank the hits with the cross-encoder of
            RAG_RERANK_URL. Unset: if there is one and `query` is given.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | RetrieveResponse
    """

    return sync_detailed(
        client=client,
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
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    query: None | str | Unset = UNSET,
    top_k: int | Unset = 10,
    corpus: str | Unset = "both",
    versions: list[str] | None | Unset = UNSET,
    language: None | str | Unset = UNSET,
    books: list[str] | None | Unset = UNSET,
    chapter_from: int | None | Unset = UNSET,
    chapter_to: int | None | Unset = UNSET,
    documents: list[str] | None | Unset = UNSET,
    min_score: float | None | Unset = UNSET,
    rerank: bool | Unset = False,
    hybrid: bool | Unset = False,
    text_weight: float | None | Unset = UNSET,
    text_depth: int | None | Unset = UNSET,
    collapse: bool | Unset = False,
    context: int | Unset = 0,
    snippet: RetrieveSimplySnippet | Unset = "part",
    elements: bool | Unset = False,
    cross_encoder: bool | None | Unset = UNSET,
) -> Response[Problem | RetrieveResponse]:
    """The same for a simple query

     Search with parameters only; vectors need POST.

    Args:
        query (None | str | Unset): What to look for, in words.
        top_k (int | Unset): How many hits. Default: 10.
        corpus (str | Unset): What to search: `bible`, a document corpus such as `documents`, or
            `both`: the Bible and every document corpus, of which a filter for one kind selects it.
            Default: 'both'.
        versions (list[str] | None | Unset): Only these Bible versions.
        language (None | str | Unset): Only versions and documents of this language, such as pt.
        books (list[str] | None | Unset): Only these books, by USFM code or common name.
        chapter_from (int | None | Unset): First chapter.
        chapter_to (int | None | Unset): Last chapter.
        documents (list[str] | None | Unset): Only these documents, by their keys.
        min_score (float | None | Unset): Minimum cosine similarity.
        rerank (bool | Unset): Re-rank the small space's candidates with the large model. Default:
            False.
        hybrid (bool | Unset): Include full text search; needs `query`. A phrase in double quotes
            is then required, and a word after a minus excluded. Default: False.
        text_weight (float | None | Unset): With `hybrid`: what the words count beside the vector.
            Unset: the release's.
        text_depth (int | None | Unset): With `hybrid`: hits of either search to merge, at least.
            Unset: the release's.
        collapse (bool | Unset): One hit per verse, in its best version; one per document, its
            best passage. Default: False.
        context (int | Unset): Passages before and after each document's hit that come with it.
            Default: 0.
        snippet (RetrieveSimplySnippet | Unset): What hits show of their passages, with the
            query's words marked: the part that matches, the full passage, or none. Default: 'part'.
        elements (bool | Unset): Hits also have their passages as elements of a page, made of
            their Markdown. Default: False.
        cross_encoder (bool | None | Unset): Re-rank the hits with the cross-encoder of
            RAG_RERANK_URL. Unset: if there is one and `query` is given.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | RetrieveResponse]
    """

    kwargs = _get_kwargs(
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
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    query: None | str | Unset = UNSET,
    top_k: int | Unset = 10,
    corpus: str | Unset = "both",
    versions: list[str] | None | Unset = UNSET,
    language: None | str | Unset = UNSET,
    books: list[str] | None | Unset = UNSET,
    chapter_from: int | None | Unset = UNSET,
    chapter_to: int | None | Unset = UNSET,
    documents: list[str] | None | Unset = UNSET,
    min_score: float | None | Unset = UNSET,
    rerank: bool | Unset = False,
    hybrid: bool | Unset = False,
    text_weight: float | None | Unset = UNSET,
    text_depth: int | None | Unset = UNSET,
    collapse: bool | Unset = False,
    context: int | Unset = 0,
    snippet: RetrieveSimplySnippet | Unset = "part",
    elements: bool | Unset = False,
    cross_encoder: bool | None | Unset = UNSET,
) -> Problem | RetrieveResponse | None:
    """The same for a simple query

     Search with parameters only; vectors need POST.

    Args:
        query (None | str | Unset): What to look for, in words.
        top_k (int | Unset): How many hits. Default: 10.
        corpus (str | Unset): What to search: `bible`, a document corpus such as `documents`, or
            `both`: the Bible and every document corpus, of which a filter for one kind selects it.
            Default: 'both'.
        versions (list[str] | None | Unset): Only these Bible versions.
        language (None | str | Unset): Only versions and documents of this language, such as pt.
        books (list[str] | None | Unset): Only these books, by USFM code or common name.
        chapter_from (int | None | Unset): First chapter.
        chapter_to (int | None | Unset): Last chapter.
        documents (list[str] | None | Unset): Only these documents, by their keys.
        min_score (float | None | Unset): Minimum cosine similarity.
        rerank (bool | Unset): Re-rank the small space's candidates with the large model. Default:
            False.
        hybrid (bool | Unset): Include full text search; needs `query`. A phrase in double quotes
            is then required, and a word after a minus excluded. Default: False.
        text_weight (float | None | Unset): With `hybrid`: what the words count beside the vector.
            Unset: the release's.
        text_depth (int | None | Unset): With `hybrid`: hits of either search to merge, at least.
            Unset: the release's.
        collapse (bool | Unset): One hit per verse, in its best version; one per document, its
            best passage. Default: False.
        context (int | Unset): Passages before and after each document's hit that come with it.
            Default: 0.
        snippet (RetrieveSimplySnippet | Unset): What hits show of their passages, with the
            query's words marked: the part that matches, the full passage, or none. Default: 'part'.
        elements (bool | Unset): Hits also have their passages as elements of a page, made of
            their Markdown. Default: False.
        cross_encoder (bool | None | Unset): Re-rank the hits with the cross-encoder of
            RAG_RERANK_URL. Unset: if there is one and `query` is given.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | RetrieveResponse
    """

    return (
        await asyncio_detailed(
            client=client,
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
        )
    ).parsed
