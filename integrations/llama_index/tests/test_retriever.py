"""The retriever alone and below a query engine, waited for and not.

LlamaIndex has no standard tests of retrievers: these are LangChain's cases.
"""

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore
from llama_index.retrievers.rag_assets import RagAssetsRetriever

JONAH = "a great fish swallowed Jonah"
BIBLE = {"corpus": "bible"}


@pytest.mark.parametrize("number", [1, 3])
async def test_the_number_of_nodes_is_what_was_asked_for(number: int) -> None:
    retriever = RagAssetsRetriever(similarity_top_k=number, options=BIBLE)
    for found in (retriever.retrieve(JONAH), await retriever.aretrieve(JONAH)):
        assert len(found) == number
        assert all(isinstance(node, NodeWithScore) for node in found)
    retriever.similarity_top_k = 2
    assert len(retriever.retrieve(JONAH)) == 2


async def test_a_node_names_its_reference_release_and_plan() -> None:
    retriever = RagAssetsRetriever(similarity_top_k=1, options={"versions": ["EN_SAMPLE"]})
    (found,) = retriever.retrieve(JONAH)
    (again,) = await retriever.aretrieve(JONAH)
    assert found.node_id == again.node_id == "EN_SAMPLE JON 1:17"
    assert (found.text, found.score) == (again.text, again.score)
    assert found.metadata["reference"] == "Jonah 1:17"
    assert found.metadata["release"] == 2
    assert found.metadata["plan"]
    passage = RagAssetsRetriever(options={"corpus": "documents"}).retrieve("pump bearings")[0]
    assert passage.node_id == "manual.pdf#2"


async def test_a_query_engine_gives_texts_and_references_to_the_model() -> None:
    retriever = RagAssetsRetriever(similarity_top_k=2, options={"versions": ["EN_SAMPLE"]})
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())  # answers with its prompt
    for answer in (engine.query(JONAH), await engine.aquery(JONAH)):
        assert answer.source_nodes[0].node_id == "EN_SAMPLE JON 1:17"
        for node in answer.source_nodes:
            assert node.text in str(answer)
            assert f"reference: {node.metadata['reference']}" in str(answer)
            assert node.metadata["request_id"] not in str(answer)


def test_an_option_that_does_not_exist_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="a search has no lang"):
        RagAssetsRetriever(options={"lang": "en"})
