"""Take a version's files into the folder of versions: whole and sound, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rag_assets.corpus.bible.reader import read_bible
from rag_assets.corpus.versions import DECLARATION, VersionDeclaration, check_version_code
from rag_assets.errors import ConfigurationError


@dataclass(frozen=True)
class AddedVersion:
    """Where the files are now, and what was read from them."""

    code: str
    folder: Path
    format: str
    verses: int


def add_version(
    bibles_dir: Path, code: str, source: Path, declaration: VersionDeclaration
) -> AddedVersion:
    """Read ``source`` (a file or a folder), then copy it to ``bibles_dir/code``.

    :raises ConfigurationError: the code is malformed, the version is there, or there is no source.
    :raises CorpusError: the files cannot be read; nothing is copied.
    """
    target = bibles_dir / check_version_code(code)
    if target.exists():
        raise ConfigurationError(
            f"{target} is there already: put changed files into it, the sensor notices them"
        )
    if not source.exists():
        raise ConfigurationError(f"there is no file or folder {source}")
    bible = read_bible(source)
    bibles_dir.mkdir(parents=True, exist_ok=True)
    # Beside the target and hidden, then renamed: the sensor never sees half a version.
    with tempfile.TemporaryDirectory(dir=bibles_dir, prefix=".adding-") as scratch:
        staged = Path(scratch) / code
        if source.is_dir():
            shutil.copytree(source, staged)
        else:
            staged.mkdir()
            shutil.copy2(source, staged)
        (staged / DECLARATION).write_text(declaration_toml(declaration), encoding="utf-8")
        staged.chmod(0o755)
        staged.rename(target)
    return AddedVersion(code, target, bible.format, len(bible.verses))


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
