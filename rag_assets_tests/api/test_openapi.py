"""The OpenAPI document: complete, exact about errors, with examples that work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rag_assets.api.routes.queue import ADMIN
from rag_assets_tests.api.server import (
    CORPUS,
    DOCUMENTS,
    EVAL,
    EXPLAIN,
    METRICS,
    RETRIEVE,
    VERSES,
    Server,
)

QUEUE = (
    *("reorder-queue", "separate-large-jobs", "prioritize-queue", "pause-queue", "resume-queue"),
    *("retry-dead-letters", "dead-letters"),
)


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """The served document."""
    found: dict[str, Any] = server.http.get("/openapi.json").raise_for_status().json()
    return found


def references(value: object) -> Iterator[str]:
    """Every ``$ref`` below a value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation."""
    for path in document["paths"].values():
        yield from path.values()


def test_every_path_of_the_service_is_documented(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        *(RETRIEVE, EVAL, CORPUS, EXPLAIN, VERSES, "/healthz", "/readyz", METRICS),
        *(DOCUMENTS, f"{DOCUMENTS}/{{key}}"),
        *(f"{ADMIN}/{name}" for name in QUEUE),
    }
    for path in (RETRIEVE, DOCUMENTS):
        assert set(document["paths"][path]) == {"get", "post"}


def test_a_client_generator_finds_names_summaries_and_every_reference(
    document: dict[str, Any],
) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    assert len(set(names)) == len(names) == 19
    assert all(operation["summary"] for operation in operations(document))
    schemas = document["components"]["schemas"]
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert "HTTPValidationError" not in schemas


def test_every_error_is_a_problem_of_its_media_type(document: dict[str, Any]) -> None:
    for operation in operations(document):
        for status, response in operation["responses"].items():
            if status < "400":
                continue
            assert list(response["content"]) == ["application/problem+json"]
            schema = response["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
    for method in document["paths"][RETRIEVE].values():
        wanted = {"200", "400", "401", "403", "408", "413", "422", "429", "502", "503", "504"}
        assert set(method["responses"]) >= wanted


def test_both_ways_to_send_a_key_are_documented(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    assert document["paths"][RETRIEVE]["post"]["security"]
    assert "security" not in document["paths"]["/healthz"]["get"]


def test_the_examples_are_in_both_languages_and_are_answered(
    server: Server, document: dict[str, Any]
) -> None:
    body = document["paths"][RETRIEVE]["post"]["requestBody"]["content"]["application/json"]
    examples = body["examples"]
    assert {"en", "pt"} <= set(examples)
    for example in examples.values():
        assert example["summary"]
        assert server.found(**example["value"])["hits"]
    portuguese = server.found(**examples["pt"]["value"])["hits"]
    assert all(hit["reference"].startswith("Salmos ") for hit in portuguese)
    english = server.found(**examples["en"]["value"])["hits"]
    assert {hit["language"] for hit in english} == {"en"}


def test_limits_and_meanings_of_the_fields_are_documented(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["RetrieveRequest"]
    assert schema["additionalProperties"] is False
    top_k = schema["properties"]["top_k"]
    assert (top_k["minimum"], top_k["maximum"], top_k["default"]) == (1, 100, 10)
    assert all(field.get("description") for field in schema["properties"].values())
    asked = {given["name"] for given in document["paths"][RETRIEVE]["get"]["parameters"]}
    assert asked == set(schema["properties"]) - {"vector", "rerank_vector"}


def test_the_page_that_shows_it_is_served_with_its_own_files(server: Server) -> None:
    page = server.http.get("/docs").raise_for_status().text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f'="docs/{name}"' in page
        assert len(server.http.get(f"/docs/{name}").raise_for_status().content) > 100_000
    assert "https://" not in page
    assert server.http.get("/docs/redoc.standalone.js").status_code == 404
