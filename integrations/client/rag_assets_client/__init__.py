"""Search a rag_assets service. Every other route: :mod:`rag_assets_client.generated`."""

from rag_assets_client.searcher import Searcher, SearchError

__all__ = ["SearchError", "Searcher"]
