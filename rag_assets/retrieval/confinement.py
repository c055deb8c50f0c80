"""What a client may read: corpora, Bible versions and languages. Licences differ.

:func:`rag_assets.retrieval.sides.sides_of` applies it to every search, whatever its plan. Lists of
documents take the languages and the document corpora.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from rag_assets.errors import RequestError


@dataclass(frozen=True)
class Confinement:
    """``None`` for no restriction.

    :param corpora: ``bible``, and document corpora by name.
    :param versions: patterns of version codes, such as ``PT_*``. Without ``corpora`` they select
        the Bible, as the filter of a request does.
    :param languages: primary subtags of language tags, such as ``pt``.
    """

    corpora: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None
    languages: tuple[str, ...] | None = None

    def allows_corpus(self, corpus: str) -> bool:
        """Whether the Bible, or the document corpus with this name, may be read."""
        if self.corpora is None:
            return self.versions is None or corpus == "bible"
        return corpus in self.corpora

    @property
    def document_corpora(self) -> tuple[str, ...] | None:
        """The document corpora that may be read; ``None`` for all of them."""
        if self.corpora is None:
            return None if self.versions is None else ()
        return tuple(corpus for corpus in self.corpora if corpus != "bible")

    def allows_language(self, tag: str) -> bool:
        """Whether texts in the language of this tag may be read."""
        return self.languages is None or primary(tag) in self.languages

    def allows_version(self, code: str, tag: str | None) -> bool:
        """Whether a version may be read.

        :param tag: its language; ``None`` if it is unknown, and then only the code counts.
        """
        return (
            self.versions is None or any(fnmatchcase(code, pattern) for pattern in self.versions)
        ) and (tag is None or self.allows_language(tag))

    def refusal(self, field: str, what: str) -> RequestError:
        """The error for something that may not be read."""
        return RequestError("not-for-this-key", field, f"{what}: this key is confined to {self}")

    def __str__(self) -> str:
        """Format for people: ``corpora bible, versions PT_*``; empty without a restriction."""
        parts = (("corpora", self.corpora), ("versions", self.versions),
                 ("languages", self.languages))  # fmt: skip
        return ", ".join(f"{name} {' '.join(values)}" for name, values in parts if values)


EVERYTHING = Confinement()


def primary(language: str) -> str:
    """The primary subtag of a language tag, by which languages are compared."""
    return language.partition("-")[0].lower()
