"""LlamaIndex retriever for the rag_assets retrieval API."""

from llama_index.retrievers.rag_assets.base import RagAssetsRetriever

__all__ = ["RagAssetsRetriever"]
