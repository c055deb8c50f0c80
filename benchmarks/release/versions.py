"""The versions: real Bibles where they are at hand, otherwise the samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.workload import ROOT, SAMPLE, declared
from rag_assets.bible.intake import add_version
from rag_assets.bible.limits import reading_limits
from rag_assets.settings.model import Settings

_BIBLES = ROOT.parent / "shared" / "data" / "bibles"


@dataclass(frozen=True)
class Source:
    """A version to be, and its files."""

    code: str
    path: Path


def sources(*, smoke: bool) -> list[Source]:
    """The demo's versions and EN_WMTH, then the one to add: EN_OEB, most of two testaments' length.

    In a smoke run, and without the real Bibles, one sample and then the other.
    """
    samples = [Source(code, SAMPLE.with_name(code)) for code in ("EN_SAMPLE", "PT_SAMPLE")]
    if smoke or not _BIBLES.is_dir():
        return samples
    real = {"EN_WMTH": "EN_WMTH/zefania.xml", "EN_OEB": "EN_OEB/osis.xml"}
    return [*samples, *(Source(code, _BIBLES / path) for code, path in real.items())]


def add(settings: Settings, source: Source) -> int:
    """Copy a version into the folder, as ``rag-assets bible add`` does; return its verses."""
    limits = reading_limits(settings)
    return add_version(
        settings.rag_bibles_dir, source.code, source.path, declared(source.code), limits
    ).verses
