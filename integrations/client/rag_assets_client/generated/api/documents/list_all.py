from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.document_list import DocumentList
from ...models.list_all_lane_type_0 import ListAllLaneType0
from ...models.list_all_state_type_0 import (
    ListAllStateType0,
)
from ...models.problem import Problem
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    state: ListAllStateType0 | None | Unset = UNSET,
    lane: ListAllLaneType0 | None | Unset = UNSET,
    corpus: None | str | Unset = UNSET,
    limit: int | Unset = 100,
    after: int | Unset = 0,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_state: None | str | Unset
    if isinstance(state, Unset):
        json_state = UNSET
    elif isinstance(state, str):
        json_state = state
    else:
        json_state = state
    params["state"] = json_state

    json_lane: None | str | Unset
    if isinstance(lane, Unset):
        json_lane = UNSET
    elif isinstance(lane, str):
        json_lane = lane
    else:
        json_lane = lane
    params["lane"] = json_lane

    json_corpus: None | str | Unset
    if isinstance(corpus, Unset):
        json_corpus = UNSET
    else:
        json_corpus = corpus
    params["corpus"] = json_corpus

    params["limit"] = limit

    params["after"] = after

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/documents",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> DocumentList | Problem | None:
    if response.status_code == 200:
        response_200 = DocumentList.from_dict(response.json())

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
) -> Response[DocumentList | Problem]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    state: ListAllStateType0 | None | Unset = UNSET,
    lane: ListAllLaneType0 | None | Unset = UNSET,
    corpus: None | str | Unset = UNSET,
    limit: int | Unset = 100,
    after: int | Unset = 0,
) -> Response[DocumentList | Problem]:
    """Documents and how far they are

     List documents in the order they were dropped, page by page.

    Args:
        state (ListAllStateType0 | None | Unset): Only those in this state.
        lane (ListAllLaneType0 | None | Unset): Only those of this lane.
        corpus (None | str | Unset): Only those of this document corpus.
        limit (int | Unset): How many. Default: 100.
        after (int | Unset): `next` of the page before this one. Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[DocumentList | Problem]
    """

    kwargs = _get_kwargs(
        state=state,
        lane=lane,
        corpus=corpus,
        limit=limit,
        after=after,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    state: ListAllStateType0 | None | Unset = UNSET,
    lane: ListAllLaneType0 | None | Unset = UNSET,
    corpus: None | str | Unset = UNSET,
    limit: int | Unset = 100,
    after: int | Unset = 0,
) -> DocumentList | Problem | None:
    """Documents and how far they are

     List documents in the order they were dropped, page by page.

    Args:
        state (ListAllStateType0 | None | Unset): Only those in this state.
        lane (ListAllLaneType0 | None | Unset): Only those of this lane.
        corpus (None | str | Unset): Only those of this document corpus.
        limit (int | Unset): How many. Default: 100.
        after (int | Unset): `next` of the page before this one. Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        DocumentList | Problem
    """

    return sync_detailed(
        client=client,
        state=state,
        lane=lane,
        corpus=corpus,
        limit=limit,
        after=after,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    state: ListAllStateType0 | None | Unset = UNSET,
    lane: ListAllLaneType0 | None | Unset = UNSET,
    corpus: None | str | Unset = UNSET,
    limit: int | Unset = 100,
    after: int | Unset = 0,
) -> Response[DocumentList | Problem]:
    """Documents and how far they are

     List documents in the order they were dropped, page by page.

    Args:
        state (ListAllStateType0 | None | Unset): Only those in this state.
        lane (ListAllLaneType0 | None | Unset): Only those of this lane.
        corpus (None | str | Unset): Only those of this document corpus.
        limit (int | Unset): How many. Default: 100.
        after (int | Unset): `next` of the page before this one. Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[DocumentList | Problem]
    """

    kwargs = _get_kwargs(
        state=state,
        lane=lane,
        corpus=corpus,
        limit=limit,
        after=after,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    state: ListAllStateType0 | None | Unset = UNSET,
    lane: ListAllLaneType0 | None | Unset = UNSET,
    corpus: None | str | Unset = UNSET,
    limit: int | Unset = 100,
    after: int | Unset = 0,
) -> DocumentList | Problem | None:
    """Documents and how far they are

     List documents in the order they were dropped, page by page.

    Args:
        state (ListAllStateType0 | None | Unset): Only those in this state.
        lane (ListAllLaneType0 | None | Unset): Only those of this lane.
        corpus (None | str | Unset): Only those of this document corpus.
        limit (int | Unset): How many. Default: 100.
        after (int | Unset): `next` of the page before this one. Default: 0.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        DocumentList | Problem
    """

    return (
        await asyncio_detailed(
            client=client,
            state=state,
            lane=lane,
            corpus=corpus,
            limit=limit,
            after=after,
        )
    ).parsed
