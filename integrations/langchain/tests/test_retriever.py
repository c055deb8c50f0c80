"""The retriever, by LangChain's own standard tests and as a part of a chain."""

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_rag_assets import RagAssetsRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError

JONAH = "a great fish swallowed Jonah"


class TestStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[RagAssetsRetriever]:
        return RagAssetsRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"options": {"corpus": "bible"}}

    @property
    def retriever_query_example(self) -> str:
        return JONAH


async def test_a_document_names_its_reference_release_and_plan() -> None:
    retriever = RagAssetsRetriever(k=1, options={"versions": ["EN_SAMPLE"]})
    (document,) = retriever.invoke(JONAH)
    assert document.id == "EN_SAMPLE JON 1:17"
    assert document.metadata["reference"] == "Jonah 1:17"
    assert document.metadata["release"] == 2
    assert document.metadata["plan"]
    (again,) = await retriever.ainvoke(JONAH)
    assert (again.id, again.page_content) == (document.id, document.page_content)
    passage = RagAssetsRetriever(options={"corpus": "documents"}).invoke("pump bearings", k=1)
    assert passage[0].id == "manual.pdf#2"


async def test_it_runs_in_a_chain_and_in_batches() -> None:
    retriever = RagAssetsRetriever(k=2, options={"language": "en"})
    chain = retriever | RunnableLambda(lambda found: [one.metadata["usfm"] for one in found])
    queries = [JONAH, "where you go I will go"]
    assert chain.batch(queries) == await chain.abatch(queries)


def test_an_option_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises((ValueError, ValidationError), match="a search has no lang"):
        RagAssetsRetriever(options={"lang": "en"})
    assert "secret-key" not in repr(RagAssetsRetriever(api_key="secret-key"))
