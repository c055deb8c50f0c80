"""Where Tesseract keeps its languages, which OCR needs."""

from __future__ import annotations

from pathlib import Path

from rag_assets.errors import NoTextError

_FOLDERS = (
    Path("/usr/share/tesseract-ocr/5/tessdata"),
    Path("/usr/share/tesseract-ocr/4.00/tessdata"),
    Path("/usr/share/tessdata"),
    Path("/usr/local/share/tessdata"),
    Path("/opt/homebrew/share/tessdata"),
)
_NO_LANGUAGE = frozenset({"osd", "equ"})  # orientation, formulas


def language_folder() -> Path | None:
    """The first of the usual folders that is there."""
    return next((folder for folder in _FOLDERS if folder.is_dir()), None)


def languages(name: str) -> list[str]:
    """All installed languages, as Tesseract names them.

    :raises NoTextError: none is installed.
    """
    folder = language_folder()
    found = sorted(path.stem for path in folder.glob("*.traineddata")) if folder else []
    found = [language for language in found if language not in _NO_LANGUAGE]
    if not found:
        raise NoTextError(
            name,
            "RAG_DOCUMENTS_OCR is true, but no language of Tesseract is installed (looked in "
            f"{', '.join(str(one) for one in _FOLDERS)}): install one, or set it to false",
        )
    return found
