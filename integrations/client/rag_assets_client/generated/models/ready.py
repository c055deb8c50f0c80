from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Any,
    Literal,
    Self,
    TypeVar,
    cast,
)

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.ready_searched_type_0 import (
    ReadySearchedType0,
    check_ready_searched_type_0,
)
from ..types import UNSET, Unset

T = TypeVar("T", bound="Ready")


@_attrs_define
class Ready:
    """The service can answer.

    Attributes:
        release (int): The release that is served.
        status (Literal['ready'] | Unset):  Default: 'ready'.
        database (Literal['answers'] | Unset):  Default: 'answers'.
        searched (None | ReadySearchedType0 | Unset): The server that is searched, if there is a replica.
    """

    release: int
    status: Literal["ready"] | Unset = "ready"
    database: Literal["answers"] | Unset = "answers"
    searched: None | ReadySearchedType0 | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        release = self.release

        status = self.status

        database = self.database

        searched: None | str | Unset
        if isinstance(self.searched, Unset):
            searched = UNSET
        elif isinstance(self.searched, str):
            searched = self.searched
        else:
            searched = self.searched

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "release": release,
            }
        )
        if status is not UNSET:
            field_dict["status"] = status
        if database is not UNSET:
            field_dict["database"] = database
        if searched is not UNSET:
            field_dict["searched"] = searched

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        release = d.pop("release")

        status = cast(Literal["ready"] | Unset, d.pop("status", UNSET))
        if status != "ready" and not isinstance(status, Unset):
            raise ValueError(f"status must match const 'ready', got '{status}'")

        database = cast(Literal["answers"] | Unset, d.pop("database", UNSET))
        if database != "answers" and not isinstance(database, Unset):
            raise ValueError(f"database must match const 'answers', got '{database}'")

        def _parse_searched(data: object) -> None | ReadySearchedType0 | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                searched_type_0 = check_ready_searched_type_0(data)

                return searched_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ReadySearchedType0 | Unset, data)

        searched = _parse_searched(d.pop("searched", UNSET))

        ready = cls(
            release=release,
            status=status,
            database=database,
            searched=searched,
        )

        ready.additional_properties = d
        return ready

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
