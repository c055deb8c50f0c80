"""Bible versions on disk: one folder per version, with what it declares in ``version.toml``.

Reading the text itself belongs to :mod:`rag_assets.bible.reader`.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_assets.bible.files import DECLARATION, home_of, opened, source_file
from rag_assets.errors import ConfigurationError, CorpusError

_LONGEST = 65_536  # bytes of a declaration
_CODE = re.compile(r"[A-Z]{2,3}_[A-Z0-9_]+")
_TYPES: dict[str, type] = {
    "name": str,
    "language": str,
    "licence": str,
    "ai_allowed": bool,
    "enabled_for_rag": bool,
}


@dataclass(frozen=True)
class VersionDeclaration:
    """What a version is, and what may be done with it. What is not declared is not allowed.

    :param language: BCP 47 tag, such as ``pt-BR``.
    :param licence: SPDX identifier or a few words.
    :param ai_allowed: the licence lets the text be sent to an embedding provider.
    :param enabled_for_rag: the version may be served by retrieval.
    """

    name: str
    language: str
    licence: str = "not declared"
    ai_allowed: bool = False
    enabled_for_rag: bool = False


@dataclass(frozen=True)
class VersionFolder:
    """One version's folder; ``code`` is its name, such as ``PT_NAA``."""

    code: str
    path: Path

    @property
    def declaration_path(self) -> Path:
        return self.path / DECLARATION


def check_version_code(code: str) -> str:
    """Return ``code`` when it is language, then abbreviation: ``PT_NAA``, ``EN_KJV``.

    :raises ConfigurationError: it is not.
    """
    if not _CODE.fullmatch(code):
        raise ConfigurationError(
            f"{code!r} is not a version code: write the language, an underscore and the "
            "abbreviation in capitals, such as PT_NAA or EN_KJV"
        )
    return code


def list_version_folders(bibles_dir: Path) -> tuple[VersionFolder, ...]:
    """Sub-folders whose names are version codes, in order of name; others are ignored."""
    if not bibles_dir.is_dir():
        return ()
    return tuple(
        VersionFolder(path.name, path)
        for path in sorted(bibles_dir.iterdir())
        if path.is_dir() and _CODE.fullmatch(path.name)
    )


def find_version_folder(bibles_dir: Path, code: str) -> VersionFolder:
    """The folder of one version.

    :raises ConfigurationError: the code is malformed.
    :raises CorpusError: there is no such folder, or it is a link out of ``bibles_dir``.
    """
    path = bibles_dir / check_version_code(code)
    if not path.is_dir():
        raise CorpusError(
            path,
            f"no folder for version {code}: `rag-assets bible add {code} FILES…` makes it, "
            "or RAG_BIBLES_DIR points elsewhere",
        )
    home_of(path)
    return VersionFolder(code, path)


def read_declaration(folder: VersionFolder) -> VersionDeclaration:
    """What ``version.toml`` declares; without that file, nothing is allowed.

    :raises CorpusError: the file is not a regular one, or not TOML, leads out of the folder, or an
        entry is unknown or of the wrong type.
    """
    path = folder.declaration_path
    defaults: dict[str, Any] = {"name": folder.code, "language": folder.code.split("_")[0].lower()}
    home = home_of(folder.path)
    if not os.path.lexists(path):
        return VersionDeclaration(**defaults)
    with opened(source_file(folder.path, path, home)) as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise CorpusError(path, f"is larger than {_LONGEST >> 10} KB: keep the declaration only")
    try:
        declared = tomllib.loads(content.decode().replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:  # numbers without end, and brackets in brackets
        raise CorpusError(path, f"is not TOML: {error}") from error
    for key, value in declared.items():
        if key not in _TYPES:
            raise CorpusError(path, f"unknown entry {key!r}; known: {', '.join(_TYPES)}")
        if type(value) is not _TYPES[key]:
            wanted = "true or false" if _TYPES[key] is bool else "a text in quotes"
            raise CorpusError(path, f"{key} must be {wanted}, not {value!r}")
    return VersionDeclaration(**(defaults | declared))
