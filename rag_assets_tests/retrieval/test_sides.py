"""Which corpora a request selects, and which filters apply to which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rag_assets.errors import RequestError
from rag_assets.retrieval.plan import Target
from rag_assets.retrieval.released import Served, ServedDocuments
from rag_assets.retrieval.request import SearchRequest, corpora
from rag_assets.retrieval.sides import needs_lookup, sides_of
from rag_assets.vectors.search_plan import RowFilter
from rag_assets.vectors.sql.spaces import Space, SpaceSpec
from rag_assets.vectors.sql.tables import bible_table, documents_table

SPACE = Space(3, "small", SpaceSpec("offline", "m", 64, "vector"), 0.0)
BIBLE = Served(
    release_id=1,
    target=Target(bible_table(SPACE), {"EN_A": 30, "PT_C": 10}, None, "vector", None),
    large=None,
    languages={"EN_A": "en", "PT_C": "pt-BR"},
    books={("EN_A", "GEN"): 30, ("PT_C", "GEN"): 10},
    withheld=frozenset(),
)
DOCUMENTS = ServedDocuments(
    Target(documents_table(SPACE), {"en": 500, "fr": 20, "und": 3}, None, "vector", None),
    None,
    {"documents": {"en": 500, "fr": 20, "und": 3}},
)
TOGETHER = replace(BIBLE, documents=DOCUMENTS)
ALONE = replace(
    TOGETHER, target=Target(bible_table(SPACE), {}, None, "vector", None), languages={}, books={}
)
LARGE_BIBLE = replace(TOGETHER, large=bible_table(SPACE))
LARGE_DOCUMENTS = replace(BIBLE, documents=replace(DOCUMENTS, large=documents_table(SPACE)))


@pytest.mark.parametrize(
    ("served", "asked", "searched"),
    [
        (BIBLE, {}, ("bible",)),
        (BIBLE, {"corpus": "both"}, ("bible",)),
        (BIBLE, {"corpus": "both", "books": ("GEN",)}, ("bible",)),
        (TOGETHER, {}, ("bible",)),
        (TOGETHER, {"corpus": "both"}, ("bible", "documents")),
        (TOGETHER, {"corpus": "both", "language": "en"}, ("bible", "documents")),
        (TOGETHER, {"corpus": "both", "versions": ("EN_A",)}, ("bible",)),
        (TOGETHER, {"corpus": "both", "books": ("GEN",)}, ("bible",)),
        (TOGETHER, {"corpus": "both", "chapters": (1, 2)}, ("bible",)),
        (TOGETHER, {"corpus": "both", "documents": ("a.md",)}, ("documents",)),
        (TOGETHER, {"corpus": "documents"}, ("documents",)),
        (TOGETHER, {"corpus": "documents", "documents": ("a.md",)}, ("documents",)),
        (TOGETHER, {"corpus": "both", "rerank": True}, ("bible", "documents")),
        (LARGE_BIBLE, {"corpus": "both"}, ("bible", "documents")),
        (LARGE_BIBLE, {"corpus": "both", "rerank": True}, ("bible",)),
        (LARGE_DOCUMENTS, {"corpus": "both", "rerank": True}, ("documents",)),
        (LARGE_DOCUMENTS, {"corpus": "bible", "rerank": True}, ("bible",)),
        (ALONE, {"corpus": "both"}, ("documents",)),
        (ALONE, {"corpus": "documents"}, ("documents",)),
        (ALONE, {}, ("bible",)),
    ],
)
def test_a_request_selects_the_corpora(
    served: Served, asked: dict[str, object], searched: tuple[str, ...]
) -> None:
    assert corpora(SearchRequest(**asked), served) == searched  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("served", "asked", "kind", "field"),
    [
        (BIBLE, {"corpus": "documents"}, "no-documents", "corpus"),
        (BIBLE, {"documents": ("a.md",)}, "no-documents", "corpus"),
        (BIBLE, {"corpus": "both", "documents": ("a.md",)}, "no-documents", "corpus"),
        (TOGETHER, {"documents": ("a.md",)}, "not-of-the-bible", "documents"),
        (TOGETHER, {"corpus": "bible", "context": 1}, "not-of-the-bible", "context"),
        (
            TOGETHER,
            {"corpus": "both", "context": 1, "books": ("GEN",)},
            "not-of-the-bible",
            "context",
        ),
        (BIBLE, {"corpus": "bible", "context": 1}, "not-of-the-bible", "context"),
        (TOGETHER, {"corpus": "documents", "books": ("GEN",)}, "not-of-documents", "books"),
        (TOGETHER, {"corpus": "documents", "versions": ("EN_A",)}, "not-of-documents", "versions"),
        (TOGETHER, {"corpus": "documents", "chapters": (1, 1)}, "not-of-documents", "chapter_from"),
        (
            TOGETHER,
            {"corpus": "both", "documents": ("a.md",), "books": ("GEN",)},
            "not-of-documents",
            "books",
        ),
    ],
)
def test_a_contradictory_filter_is_reported(
    served: Served, asked: dict[str, object], kind: str, field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        corpora(SearchRequest(**asked), served)  # type: ignore[arg-type]
    assert (caught.value.kind, caught.value.field) == (kind, field)


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        ({}, False),
        ({"corpus": "both"}, False),
        ({"corpus": "both", "language": "en"}, False),
        ({"corpus": "documents", "language": "en-GB"}, False),
        ({"corpus": "documents", "language": "de"}, True),
        ({"corpus": "documents", "documents": ("a.md",)}, True),
        ({"corpus": "both", "language": "de", "books": ("GEN",)}, False),
    ],
)
def test_the_database_is_queried_only_for_unknown_names(
    asked: dict[str, object], needed: bool
) -> None:
    request = SearchRequest(**asked)  # type: ignore[arg-type]
    assert needs_lookup(request, TOGETHER) is needed


def test_a_search_of_everything_has_no_filter() -> None:
    bible, documents = sides_of(None, SearchRequest(corpus="both"), TOGETHER)
    assert (bible.corpus, bible.filter, bible.matching) == (
        "bible",
        RowFilter(("EN_A", "PT_C")),
        None,
    )
    assert (documents.corpus, documents.filter, documents.matching) == (
        "documents",
        RowFilter(None),
        None,
    )
    assert documents.scopes == ("en", "fr", "und")


def test_a_language_is_a_filter_of_each_corpus_that_has_it() -> None:
    bible, documents = sides_of(None, SearchRequest(corpus="both", language="EN-gb"), TOGETHER)
    assert bible.filter.scopes == ("EN_A",)
    assert (documents.filter.scopes, documents.matching) == (("en",), 500)
    (only,) = sides_of(None, SearchRequest(corpus="both", language="pt"), TOGETHER)
    assert only.corpus == "bible"
    (only,) = sides_of(None, SearchRequest(corpus="both", language="fr"), TOGETHER)
    assert only.corpus == "documents"


def test_an_unknown_language_names_those_of_both_corpora() -> None:
    with pytest.raises(RequestError) as caught:
        sides_of(None, SearchRequest(corpus="both", language="de"), TOGETHER)
    assert caught.value.kind == "unknown-language"
    assert caught.value.choices == ("en", "fr", "pt", "und")
    with pytest.raises(RequestError) as caught:
        sides_of(None, SearchRequest(corpus="documents", language="de"), TOGETHER)
    assert caught.value.choices == ("en", "fr", "und")
