"""Take a version's files into the folder of versions: complete and readable, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rag_assets.bible.files import DECLARATION, opened_sources
from rag_assets.bible.fingerprint import folder_hash
from rag_assets.bible.limits import ReadingLimits
from rag_assets.bible.model import counts
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.versions import VersionDeclaration, check_version_code
from rag_assets.errors import ConfigurationError


@dataclass(frozen=True)
class AddedVersion:
    """Where the files are now, and what was read from them.

    :param oddities: their number by kind.
    """

    code: str
    folder: Path
    format: str
    verses: int
    oddities: dict[str, int]


def add_version(
    bibles_dir: Path,
    code: str,
    source: Path,
    declaration: VersionDeclaration,
    limits: ReadingLimits,
) -> AddedVersion:
    """Read ``source`` (a file or a folder), then copy what was read to ``bibles_dir/code``.

    :raises ConfigurationError: the code is malformed, the version is there, there is no source, or
        it changed while it was copied.
    :raises CorpusError: the files cannot be read; nothing is copied.
    """
    target = bibles_dir / check_version_code(code)
    if target.exists():
        raise ConfigurationError(
            f"{target} already exists: put changed files into it, and the sensor loads them"
        )
    if not source.exists():
        raise ConfigurationError(f"there is no file or folder {source}")
    source = source.resolve()  # the named path may be a link; links inside it are not followed
    read = read_version(source, limits)
    bibles_dir.mkdir(parents=True, exist_ok=True)
    # Beside the target and hidden, then renamed: the sensor never sees half a version.
    with tempfile.TemporaryDirectory(dir=bibles_dir, prefix=".adding-") as scratch:
        staged = Path(scratch) / code
        for file, stream, _ in opened_sources(source, most_bytes=limits.most_bytes):
            (staged / file.name).parent.mkdir(parents=True, exist_ok=True)
            with (staged / file.name).open("xb") as copy:
                shutil.copyfileobj(stream, copy)
        if folder_hash(staged, most_bytes=limits.most_bytes) != read.source_hash:
            raise ConfigurationError(
                f"{source} changed while it was copied: add it again when nothing writes to it"
            )
        (staged / DECLARATION).write_text(declaration_toml(declaration), encoding="utf-8")
        staged.chmod(0o755)
        staged.rename(target)
    bible = read.bible
    return AddedVersion(code, target, bible.format, len(bible.verses), counts(bible.oddities))


def declaration_toml(declaration: VersionDeclaration) -> str:
    """The text of ``version.toml``. TOML's basic strings are JSON's but for a few escapes."""
    lines = ["# What this version is and what may be done with it.\n"]
    for key, value in asdict(declaration).items():
        if isinstance(value, bool):
            lines.append(f"{key} = {str(value).lower()}\n")
        else:
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
            lines.append(f'{key} = "{escaped}"\n')
    return "".join(lines)
