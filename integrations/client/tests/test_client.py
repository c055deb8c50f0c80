"""The generated client and the searcher, against a running service."""

import asyncio

import pytest
from rag_assets_client import Searcher, SearchError
from rag_assets_client.generated.api.documents import list_all
from rag_assets_client.generated.api.retrieval import corpus
from rag_assets_client.generated.api.service import ready
from rag_assets_client.generated.models import CorpusResponse, DocumentList, HitModel, Ready

JONAH = "a great fish swallowed Jonah"


def test_a_search_is_the_same_whether_one_waits_for_it_or_not() -> None:
    searcher = Searcher(options={"versions": ["EN_SAMPLE"]})
    found = searcher.search(JONAH, 2)
    first = found.hits[0]
    assert isinstance(first, HitModel)
    assert (first.usfm, first.version, found.k_returned) == ("JON 1:17", "EN_SAMPLE", 2)
    for _ in range(2):  # each in a loop of its own
        assert asyncio.run(searcher.asearch(JONAH, 2)).hits == found.hits


def test_a_refusal_says_what_is_wrong() -> None:
    with pytest.raises(SearchError, match="version EN_NONE is not in the active release") as error:
        Searcher(options={"versions": ["EN_NONE"]}).search(JONAH, 2)
    assert error.value.problem is not None
    assert "EN_SAMPLE" in error.value.problem["choices"]
    with pytest.raises(SearchError, match="status 401"):
        Searcher(api_key="rag_wrong").search(JONAH, 2)
    with pytest.raises(ValueError, match=r"a search has no version\. It has corpus, versions"):
        Searcher(options={"version": "EN_SAMPLE"})


def test_other_routes_answer_with_their_models() -> None:
    with Searcher().connect() as client:
        listed = corpus.sync(client=client, limit=1)
        assert isinstance(listed, CorpusResponse)
        assert [one.version for one in listed.versions] == ["EN_SAMPLE", "PT_SAMPLE"]
        assert listed.documents is not None
        assert listed.documents.next_ == "carta.md"
        documents = list_all.sync(client=client)
        assert isinstance(documents, DocumentList)
        assert {one.key for one in documents.documents} == {"carta.md", "manual.pdf"}
        assert isinstance(ready.sync(client=client), Ready)
