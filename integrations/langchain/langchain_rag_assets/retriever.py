"""The retriever."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr, SecretStr
from rag_assets_client.generated.models import RetrieveResponse
from rag_assets_client.searcher import Searcher, identifier, metadata


class RagAssetsRetriever(BaseRetriever):
    """Retrieves Bible verses and document passages.

    .. code-block:: python

        retriever = RagAssetsRetriever(url="http://127.0.0.1:8000", k=5, options={"language": "pt"})
        retriever.invoke("o bom pastor")
    """

    url: str | None = Field(None, description="Of the service; else RAG_ASSETS_URL.")
    api_key: SecretStr | None = Field(None, description="Else RAG_ASSETS_API_KEY.")
    k: int = Field(10, ge=1, le=100, description="How many documents.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of a search, such as versions or hybrid."
    )
    timeout_s: float = Field(30, gt=0)
    _searcher: Searcher = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Check the options."""
        super().model_post_init(context)
        key = self.api_key.get_secret_value() if self.api_key else None
        self._searcher = Searcher(self.url, key, timeout_s=self.timeout_s, options=self.options)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return _documents(self._searcher.search(query, self.k if k is None else k))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return _documents(await self._searcher.asearch(query, self.k if k is None else k))


def _documents(found: RetrieveResponse) -> list[Document]:
    return [
        Document(id=identifier(hit), page_content=hit.text, metadata=metadata(hit, found))
        for hit in found.hits
    ]
