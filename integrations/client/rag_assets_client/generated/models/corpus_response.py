from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.book_model import BookModel
    from ..models.both_plans_model import BothPlansModel
    from ..models.documents_model import DocumentsModel
    from ..models.language_model import LanguageModel
    from ..models.plan_model import PlanModel
    from ..models.version_model import VersionModel


T = TypeVar("T", bound="CorpusResponse")


@_attrs_define
class CorpusResponse:
    """What the active release holds, as far as the client may search it.

    Attributes:
        request_id (str):
        release (int):
        plan (BothPlansModel | PlanModel): How a search without a filter reads the tables.
        versions (list[VersionModel]):
        books (list[BookModel]):
        languages (list[LanguageModel]):
        documents (DocumentsModel | None): null if no documents are released.
    """

    request_id: str
    release: int
    plan: BothPlansModel | PlanModel
    versions: list[VersionModel]
    books: list[BookModel]
    languages: list[LanguageModel]
    documents: DocumentsModel | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.documents_model import DocumentsModel
        from ..models.plan_model import PlanModel

        request_id = self.request_id

        release = self.release

        plan: dict[str, Any]
        if isinstance(self.plan, PlanModel):
            plan = self.plan.to_dict()
        else:
            plan = self.plan.to_dict()

        versions = []
        for versions_item_data in self.versions:
            versions_item = versions_item_data.to_dict()
            versions.append(versions_item)

        books = []
        for books_item_data in self.books:
            books_item = books_item_data.to_dict()
            books.append(books_item)

        languages = []
        for languages_item_data in self.languages:
            languages_item = languages_item_data.to_dict()
            languages.append(languages_item)

        documents: dict[str, Any] | None
        if isinstance(self.documents, DocumentsModel):
            documents = self.documents.to_dict()
        else:
            documents = self.documents

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "request_id": request_id,
                "release": release,
                "plan": plan,
                "versions": versions,
                "books": books,
                "languages": languages,
                "documents": documents,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.book_model import BookModel
        from ..models.both_plans_model import BothPlansModel
        from ..models.documents_model import DocumentsModel
        from ..models.language_model import LanguageModel
        from ..models.plan_model import PlanModel
        from ..models.version_model import VersionModel

        d = dict(src_dict)
        request_id = d.pop("request_id")

        release = d.pop("release")

        def _parse_plan(data: object) -> BothPlansModel | PlanModel:
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                plan_type_0 = PlanModel.from_dict(data)

                return plan_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            if not isinstance(data, dict):
                raise TypeError()
            plan_type_1 = BothPlansModel.from_dict(data)

            return plan_type_1

        plan = _parse_plan(d.pop("plan"))

        versions = []
        _versions = d.pop("versions")
        for versions_item_data in _versions:
            versions_item = VersionModel.from_dict(versions_item_data)

            versions.append(versions_item)

        books = []
        _books = d.pop("books")
        for books_item_data in _books:
            books_item = BookModel.from_dict(books_item_data)

            books.append(books_item)

        languages = []
        _languages = d.pop("languages")
        for languages_item_data in _languages:
            languages_item = LanguageModel.from_dict(languages_item_data)

            languages.append(languages_item)

        def _parse_documents(data: object) -> DocumentsModel | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                documents_type_0 = DocumentsModel.from_dict(data)

                return documents_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DocumentsModel | None, data)

        documents = _parse_documents(d.pop("documents"))

        corpus_response = cls(
            request_id=request_id,
            release=release,
            plan=plan,
            versions=versions,
            books=books,
            languages=languages,
            documents=documents,
        )

        corpus_response.additional_properties = d
        return corpus_response

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
