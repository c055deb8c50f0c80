"""The retriever."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from rag_assets_client.generated.models import RetrieveResponse
from rag_assets_client.searcher import Searcher, identifier, metadata

_FOR_THE_MODEL = {"reference", "version", "title"}


class RagAssetsRetriever(BaseRetriever):
    """Retrieves Bible verses and document passages.

    :param url: of the service; else ``RAG_ASSETS_URL``.
    :param api_key: else ``RAG_ASSETS_API_KEY``.
    :param similarity_top_k: how many nodes.
    :param options: further fields of a search, such as ``versions`` or ``hybrid``.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        similarity_top_k: int = 10,
        options: Mapping[str, Any] | None = None,
        timeout_s: float = 30,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        self.similarity_top_k = similarity_top_k
        self._searcher = Searcher(url, api_key, timeout_s=timeout_s, options=options)
        super().__init__(callback_manager=callback_manager)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(self._searcher.search(query_bundle.query_str, self.similarity_top_k))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return _nodes(await self._searcher.asearch(query_bundle.query_str, self.similarity_top_k))


def _nodes(found: RetrieveResponse) -> list[NodeWithScore]:
    nodes = []
    for hit in found.hits:
        about = metadata(hit, found)
        unsaid = [name for name in about if name not in _FOR_THE_MODEL]
        node = TextNode(
            id_=identifier(hit), text=hit.text, metadata=about,
            excluded_llm_metadata_keys=unsaid, excluded_embed_metadata_keys=list(about),
        )  # fmt: skip
        nodes.append(NodeWithScore(node=node, score=hit.score))
    return nodes
