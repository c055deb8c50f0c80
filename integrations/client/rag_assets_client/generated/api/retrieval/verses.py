from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.problem import Problem
from ...models.verses_response import VersesResponse
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    reference: str,
    versions: list[str] | None | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["reference"] = reference

    json_versions: list[str] | None | Unset
    if isinstance(versions, Unset):
        json_versions = UNSET
    elif isinstance(versions, list):
        json_versions = versions

    else:
        json_versions = versions
    params["versions"] = json_versions

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/api/v1/verses",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Problem | VersesResponse | None:
    if response.status_code == 200:
        response_200 = VersesResponse.from_dict(response.json())

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
) -> Response[Problem | VersesResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient,
    reference: str,
    versions: list[str] | None | Unset = UNSET,
) -> Response[Problem | VersesResponse]:
    """Verses side by side

     Read the same verses in several versions.

    Args:
        reference (str): Such as JHN 3:16, John 3:16-18, or a chapter: JHN 3.
        versions (list[str] | None | Unset): In these versions; all that may be read.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | VersesResponse]
    """

    kwargs = _get_kwargs(
        reference=reference,
        versions=versions,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient,
    reference: str,
    versions: list[str] | None | Unset = UNSET,
) -> Problem | VersesResponse | None:
    """Verses side by side

     Read the same verses in several versions.

    Args:
        reference (str): Such as JHN 3:16, John 3:16-18, or a chapter: JHN 3.
        versions (list[str] | None | Unset): In these versions; all that may be read.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | VersesResponse
    """

    return sync_detailed(
        client=client,
        reference=reference,
        versions=versions,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient,
    reference: str,
    versions: list[str] | None | Unset = UNSET,
) -> Response[Problem | VersesResponse]:
    """Verses side by side

     Read the same verses in several versions.

    Args:
        reference (str): Such as JHN 3:16, John 3:16-18, or a chapter: JHN 3.
        versions (list[str] | None | Unset): In these versions; all that may be read.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Problem | VersesResponse]
    """

    kwargs = _get_kwargs(
        reference=reference,
        versions=versions,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient,
    reference: str,
    versions: list[str] | None | Unset = UNSET,
) -> Problem | VersesResponse | None:
    """Verses side by side

     Read the same verses in several versions.

    Args:
        reference (str): Such as JHN 3:16, John 3:16-18, or a chapter: JHN 3.
        versions (list[str] | None | Unset): In these versions; all that may be read.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Problem | VersesResponse
    """

    return (
        await asyncio_detailed(
            client=client,
            reference=reference,
            versions=versions,
        )
    ).parsed
