"""How models are given queries and passages: presets by family, and what the setting takes."""

from __future__ import annotations

import pytest

from rag_assets.settings.instructions import (
    E5,
    NONE,
    PRESETS,
    Instructions,
    instructions_for,
    parse,
)
from rag_assets.settings.model import Settings


@pytest.mark.parametrize(
    ("model", "preset"),
    [
        ("text-embedding-3-small", "none"),
        ("bge-m3", "none"),
        ("intfloat/multilingual-e5-large", "e5"),
        ("e5-base-v2", "e5"),
        ("intfloat/multilingual-e5-large-instruct", "e5-instruct"),
        ("nomic-embed-text:v1.5", "nomic"),
        ("voyage-3.5", "voyage"),
        ("voyageai/voyage-3-large", "voyage"),
        ("embed-v4.0", "none"),
        ("cohere/embed-v4.0", "cohere"),
        ("tencent/kalm-embedding-gemma3-12b", "none"),
        ("cohere.embed-multilingual-v3", "cohere"),
        ("gemini-embedding-001", "none"),
        ("models/gemini-embedding-2", "gemini"),
        ("google/embeddinggemma-300m", "gemini"),
        ("nomic-ai/some-model-e5x", "none"),
    ],
)
def test_a_family_is_known_by_the_models_name(model: str, preset: str) -> None:
    assert instructions_for("auto", model) == PRESETS[preset]


def test_the_setting_outdoes_the_models_name() -> None:
    assert instructions_for("none", "multilingual-e5-small") == NONE
    assert instructions_for("e5", "my-deployment") == E5
    own = '{"passage": "document", "query": "query", "field": "task"}'
    assert instructions_for(own, "e5-small") == Instructions("query", "document", "task")


@pytest.mark.parametrize("instructions", PRESETS.values())
def test_what_is_stored_reads_back(instructions: Instructions) -> None:
    assert parse(instructions.stored()) == instructions
    assert parse(instructions.stored()).stored() == instructions.stored()


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("e6", "must be auto, one of none, e5"),
        ("[]", "must be auto"),
        ('{"querry": "query: "}', "must be auto"),
        ('{"query": 3}', "must be a text"),
        ('{"field": "input_type", "query": "query"}', "both query and passage"),
        ('{"field": "model", "query": "a", "passage": "b"}', "means something else"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_what_it_takes(
    value: str, fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Settings(rag_embedding_instructions=value)
