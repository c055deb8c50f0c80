from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem import Problem
from ...models.upload_answer import UploadAnswer
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    body: str,
    name: str,
    replace: bool | Unset = False,
    corpus: str | Unset = "documents",
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    params: dict[str, Any] = {}

    params["name"] = name

    params["replace"] = replace

    params["corpus"] = corpus

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/api/v1/documents",
        "params": params,
    }

    _kwargs["content"] = body.payload
    headers["Content-Type"] = "application/octet-stream"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Problem | UploadAnswer | None:
    if response.status_code == 200:
        response_200 = UploadAnswer.from_dict(response.json())

        return response_200

    if response.status_code == 201:
        response_201 = UploadAnswer.from_dict(response.json())

        return response_201

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

    if response.status_code == 409:
        response_409 = Problem.from_dict(response.json())

        return response_409

    if response.status_code == 413:
        response_413 = Problem.from_dict(response.json())

        return response_413

    if response.status_code == 415:
        response_415 = Problem.from_dict(response.json())

        return response_415

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
) -> Response[Problem | UploadAnswer]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    body: str,
    name: str,
    replace: bool | Unset = False,
    corpus: str | Unset = "documents",
) -> Response[Problem | UploadAnswer]:
    """Upload a document

     Send the file itself as the body. It is stored whole or not at all, then waits its turn.

    Args:
        name (str): Its path below the inbox, such as `reports/2026.pdf`.
        replace (bool | Unset): A file of this name with another content may be replaced. Default:
            False.
        corpus (str | Unset): The document corpus whose inbox it goes to. Default: 'documents'.
        body (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | UploadAnswer]
    """

    kwargs = _get_kwargs(
        body=body,
        name=name,
        replace=replace,
        corpus=corpus,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    body: str,
    name: str,
    replace: bool | Unset = False,
    corpus: str | Unset = "documents",
) -> Problem | UploadAnswer | None:
    """Upload a document

     Send the file itself as the body. It is stored whole or not at all, then waits its turn.

    Args:
        name (str): Its path below the inbox, such as `reports/2026.pdf`.
        replace (bool | Unset): A file of this name with another content may be replaced. Default:
            False.
        corpus (str | Unset): The document corpus whose inbox it goes to. Default: 'documents'.
        body (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | UploadAnswer
    """

    return sync_detailed(
        client=client,
        body=body,
        name=name,
        replace=replace,
        corpus=corpus,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    body: str,
    name: str,
    replace: bool | Unset = False,
    corpus: str | Unset = "documents",
) -> Response[Problem | UploadAnswer]:
    """Upload a document

     Send the file itself as the body. It is stored whole or not at all, then waits its turn.

    Args:
        name (str): Its path below the inbox, such as `reports/2026.pdf`.
        replace (bool | Unset): A file of this name with another content may be replaced. Default:
            False.
        corpus (str | Unset): The document corpus whose inbox it goes to. Default: 'documents'.
        body (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | UploadAnswer]
    """

    kwargs = _get_kwargs(
        body=body,
        name=name,
        replace=replace,
        corpus=corpus,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    body: str,
    name: str,
    replace: bool | Unset = False,
    corpus: str | Unset = "documents",
) -> Problem | UploadAnswer | None:
    """Upload a document

     Send the file itself as the body. It is stored whole or not at all, then waits its turn.

    Args:
        name (str): Its path below the inbox, such as `reports/2026.pdf`.
        replace (bool | Unset): A file of this name with another content may be replaced. Default:
            False.
        corpus (str | Unset): The document corpus whose inbox it goes to. Default: 'documents'.
        body (str):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | UploadAnswer
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
            name=name,
            replace=replace,
            corpus=corpus,
        )
    ).parsed
