from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.document_model_state import DocumentModelState, check_document_model_state

if TYPE_CHECKING:
    from ..models.document_model_seconds_type_0 import DocumentModelSecondsType0
    from ..models.report_model import ReportModel


T = TypeVar("T", bound="DocumentModel")


@_attrs_define
class DocumentModel:
    """A document and its state.

    Attributes:
        key (str):
        corpus (str): The document corpus.
        path (str): Below the corpus' inbox.
        state (DocumentModelState): Of the work on it: `dead` is done without success.
        lane (str):
        priority (str): asked for, high, normal or low.
        bytes_ (int):
        attempts (int): Since its content was new.
        dropped_at (datetime.datetime):
        queued_at (datetime.datetime):
        not_before (datetime.datetime | None): When the next attempt is due.
        started_at (datetime.datetime | None):
        ended_at (datetime.datetime | None):
        run_id (None | str): The run that works on it, or did last.
        error_class (None | str):
        error (None | str): Error of the last attempt, with what to do.
        withdrawn_at (datetime.datetime | None):
        title (None | str):
        media_type (None | str):
        language (None | str):
        pages (int | None):
        chunks (int | None):
        tokens (int | None):
        cost_usd (float | None): What its embeddings cost when it was last ready; null if a price is not known.
        seconds (DocumentModelSecondsType0 | None): Time by stage.
        report (None | ReportModel): On the text that is stored; null where an older version has read it.
    """

    key: str
    corpus: str
    path: str
    state: DocumentModelState
    lane: str
    priority: str
    bytes_: int
    attempts: int
    dropped_at: datetime.datetime
    queued_at: datetime.datetime
    not_before: datetime.datetime | None
    started_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    run_id: None | str
    error_class: None | str
    error: None | str
    withdrawn_at: datetime.datetime | None
    title: None | str
    media_type: None | str
    language: None | str
    pages: int | None
    chunks: int | None
    tokens: int | None
    cost_usd: float | None
    seconds: DocumentModelSecondsType0 | None
    report: None | ReportModel
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.document_model_seconds_type_0 import DocumentModelSecondsType0
        from ..models.report_model import ReportModel

        key = self.key

        corpus = self.corpus

        path = self.path

        state: str = self.state

        lane = self.lane

        priority = self.priority

        bytes_ = self.bytes_

        attempts = self.attempts

        dropped_at = self.dropped_at.isoformat()

        queued_at = self.queued_at.isoformat()

        not_before: None | str
        if isinstance(self.not_before, datetime.datetime):
            not_before = self.not_before.isoformat()
        else:
            not_before = self.not_before

        started_at: None | str
        if isinstance(self.started_at, datetime.datetime):
            started_at = self.started_at.isoformat()
        else:
            started_at = self.started_at

        ended_at: None | str
        if isinstance(self.ended_at, datetime.datetime):
            ended_at = self.ended_at.isoformat()
        else:
            ended_at = self.ended_at

        run_id: None | str
        run_id = self.run_id

        error_class: None | str
        error_class = self.error_class

        error: None | str
        error = self.error

        withdrawn_at: None | str
        if isinstance(self.withdrawn_at, datetime.datetime):
            withdrawn_at = self.withdrawn_at.isoformat()
        else:
            withdrawn_at = self.withdrawn_at

        title: None | str
        title = self.title

        media_type: None | str
        media_type = self.media_type

        language: None | str
        language = self.language

        pages: int | None
        pages = self.pages

        chunks: int | None
        chunks = self.chunks

        tokens: int | None
        tokens = self.tokens

        cost_usd: float | None
        cost_usd = self.cost_usd

        seconds: dict[str, Any] | None
        if isinstance(self.seconds, DocumentModelSecondsType0):
            seconds = self.seconds.to_dict()
        else:
            seconds = self.seconds

        report: dict[str, Any] | None
        if isinstance(self.report, ReportModel):
            report = self.report.to_dict()
        else:
            report = self.report

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "key": key,
                "corpus": corpus,
                "path": path,
                "state": state,
                "lane": lane,
                "priority": priority,
                "bytes": bytes_,
                "attempts": attempts,
                "dropped_at": dropped_at,
                "queued_at": queued_at,
                "not_before": not_before,
                "started_at": started_at,
                "ended_at": ended_at,
                "run_id": run_id,
                "error_class": error_class,
                "error": error,
                "withdrawn_at": withdrawn_at,
                "title": title,
                "media_type": media_type,
                "language": language,
                "pages": pages,
                "chunks": chunks,
                "tokens": tokens,
                "cost_usd": cost_usd,
                "seconds": seconds,
                "report": report,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        from ..models.document_model_seconds_type_0 import DocumentModelSecondsType0
        from ..models.report_model import ReportModel

        d = dict(src_dict)
        key = d.pop("key")

        corpus = d.pop("corpus")

        path = d.pop("path")

        state = check_document_model_state(d.pop("state"))

        lane = d.pop("lane")

        priority = d.pop("priority")

        bytes_ = d.pop("bytes")

        attempts = d.pop("attempts")

        dropped_at = datetime.datetime.fromisoformat(d.pop("dropped_at"))

        queued_at = datetime.datetime.fromisoformat(d.pop("queued_at"))

        def _parse_not_before(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                not_before_type_0 = datetime.datetime.fromisoformat(data)

                return not_before_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        not_before = _parse_not_before(d.pop("not_before"))

        def _parse_started_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_at_type_0 = datetime.datetime.fromisoformat(data)

                return started_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        started_at = _parse_started_at(d.pop("started_at"))

        def _parse_ended_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                ended_at_type_0 = datetime.datetime.fromisoformat(data)

                return ended_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        ended_at = _parse_ended_at(d.pop("ended_at"))

        def _parse_run_id(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        run_id = _parse_run_id(d.pop("run_id"))

        def _parse_error_class(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        error_class = _parse_error_class(d.pop("error_class"))

        def _parse_error(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        error = _parse_error(d.pop("error"))

        def _parse_withdrawn_at(data: object) -> datetime.datetime | None:
            if data is None:
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                withdrawn_at_type_0 = datetime.datetime.fromisoformat(data)

                return withdrawn_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None, data)

        withdrawn_at = _parse_withdrawn_at(d.pop("withdrawn_at"))

        def _parse_title(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        title = _parse_title(d.pop("title"))

        def _parse_media_type(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        media_type = _parse_media_type(d.pop("media_type"))

        def _parse_language(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        language = _parse_language(d.pop("language"))

        def _parse_pages(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        pages = _parse_pages(d.pop("pages"))

        def _parse_chunks(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        chunks = _parse_chunks(d.pop("chunks"))

        def _parse_tokens(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        tokens = _parse_tokens(d.pop("tokens"))

        def _parse_cost_usd(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        cost_usd = _parse_cost_usd(d.pop("cost_usd"))

        def _parse_seconds(data: object) -> DocumentModelSecondsType0 | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                seconds_type_0 = DocumentModelSecondsType0.from_dict(data)

                return seconds_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(DocumentModelSecondsType0 | None, data)

        seconds = _parse_seconds(d.pop("seconds"))

        def _parse_report(data: object) -> None | ReportModel:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                report_type_0 = ReportModel.from_dict(data)

                return report_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ReportModel, data)

        report = _parse_report(d.pop("report"))

        document_model = cls(
            key=key,
            corpus=corpus,
            path=path,
            state=state,
            lane=lane,
            priority=priority,
            bytes_=bytes_,
            attempts=attempts,
            dropped_at=dropped_at,
            queued_at=queued_at,
            not_before=not_before,
            started_at=started_at,
            ended_at=ended_at,
            run_id=run_id,
            error_class=error_class,
            error=error,
            withdrawn_at=withdrawn_at,
            title=title,
            media_type=media_type,
            language=language,
            pages=pages,
            chunks=chunks,
            tokens=tokens,
            cost_usd=cost_usd,
            seconds=seconds,
            report=report,
        )

        document_model.additional_properties = d
        return document_model

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
