"""LangChain retriever for the rag_assets retrieval API."""

from langchain_rag_assets.retriever import RagAssetsRetriever

__all__ = ["RagAssetsRetriever"]
