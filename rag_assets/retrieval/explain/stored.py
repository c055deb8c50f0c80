"""Whether a passage is there to be searched, and if not, where it stopped before. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from rag_assets.documents.sql.documents import Document
from rag_assets.documents.sql.lanes import Pause
from rag_assets.lanes import BIBLE_LANE
from rag_assets.retrieval.explain.model import Verdict
from rag_assets.retrieval.sql.stored import DeclaredVersion, StoredPassage
from rag_assets.visible import visible

OUTSIDE_KEY_SCOPE = Verdict(
    "outside_key_scope", "It is outside this key's scope.", "rag-assets keys list"
)
"""The same for what exists and what does not: a client learns nothing of what it may not read."""


@dataclass(frozen=True)
class VerseFacts:
    """A verse of one version.

    :param reference: with the version, such as ``EN_SAMPLE Jonah 1:17``.
    :param declared: ``None`` if the version is not loaded; ``has_folder``: in RAG_BIBLES_DIR.
    :param passage: ``None`` if the version has no such verse.
    :param oddity: what the version's reader noted about it; empty for nothing.
    :param changed: the version's files changed since it was loaded, and have another text here.
    :param in_files: where these files have the verse; empty if they do not, or are not here.
    :param in_setting: whether RAG_ALLOWED_VERSIONS allows it.
    :param pause: of the lane for versions.
    """

    reference: str
    code: str
    book: str
    declared: DeclaredVersion | None
    has_folder: bool
    passage: StoredPassage | None
    oddity: str
    changed: bool
    in_files: str
    in_setting: bool
    released: bool
    release_id: int
    pause: Pause | None


def verse_stopped(facts: VerseFacts) -> Verdict | None:
    """Where a verse stopped before it could be searched; ``None`` if it can be."""
    declared, passage = facts.declared, facts.passage
    embed = f"rag-assets bible embed {facts.code}"
    if declared is None:
        if facts.has_folder:
            reason = f"Version {facts.code} has a folder but is not loaded."
            return Verdict("not_embedded", reason, embed)
        reason = f"There is no version {facts.code}: no folder of RAG_BIBLES_DIR has this name."
        return Verdict("not_in_source", reason, f"rag-assets bible add {facts.code} FILE")
    if passage is None and facts.changed and facts.in_files:
        reason = f"It is in {facts.in_files}, which changed after {facts.code} was loaded."
        return Verdict("stale", reason, embed)
    if passage is None:
        noted = f": {facts.oddity}" if facts.oddity else ""
        reason = f"The source of {facts.code} has no {facts.reference} with text{noted}."
        command = f"rag-assets bible oddities {facts.code} --book {facts.book}"
        return Verdict("not_in_source", reason, command)
    if refused := _refused(facts, declared):
        return refused
    if not passage.embedded:
        reason, command = _unembedded(facts, passage, embed)
        return Verdict("not_embedded", reason, command)
    if not passage.current:
        reason = "Its vector is that of another text, or was not written by an embedding run."
        return Verdict("stale", reason, embed)
    if facts.changed:
        reason = f"The files of {facts.code} changed after it was loaded, and this verse with them."
        return Verdict("stale", reason, embed)
    if not facts.released:
        reason = f"Version {facts.code} is embedded but not in release {facts.release_id}."
        return Verdict("not_in_release", reason, "rag-assets release gate")
    return None


def _refused(facts: VerseFacts, declared: DeclaredVersion) -> Verdict | None:
    flags = {"ai_allowed": declared.ai_allowed, "enabled_for_rag": declared.enabled_for_rag}
    if missing := [name for name, given in flags.items() if not given]:
        reason = (
            f"{facts.code}/version.toml does not declare {' and '.join(missing)}: if the licence "
            "allows it, change that and load the version again."
        )
        return Verdict("refused_by_policy", reason, f"rag-assets bible embed {facts.code}")
    if not facts.in_setting:
        reason = f"RAG_ALLOWED_VERSIONS does not name {facts.code}."
        return Verdict("refused_by_policy", reason, "rag-assets release gate")
    return None


def _unembedded(facts: VerseFacts, passage: StoredPassage, embed: str) -> tuple[str, str]:
    """Why a verse has no vector, and the next command."""
    if passage.refusal is not None:
        return f"The provider rejected its text: {_clause(passage.refusal)}.", embed
    if passage.batch is not None:
        return f"Its text is in batch {passage.batch}, whose results are not stored yet.", (
            "rag-assets batches list"
        )
    if facts.pause is not None:
        return f"Its lane {BIBLE_LANE} is paused {_clause(facts.pause.description)}.", (
            f"rag-assets documents resume {BIBLE_LANE}"
        )
    return f"It is pending: {facts.code} is loaded, and this verse has no vector yet.", embed


@dataclass(frozen=True)
class DocumentFacts:
    """A document, or the passage of it at ``position``.

    :param document: ``None`` if there is none with this key.
    :param passages: of all positions, or of the one that is asked for.
    :param unscanned: its file in the inbox is new, or changed, since the last scan.
    :param near: similar keys of other documents.
    :param released: whether the release searches documents.
    """

    key: str
    position: int | None
    document: Document | None
    passages: Sequence[StoredPassage]
    unscanned: bool
    near: Sequence[str]
    released: bool
    release_id: int
    pause: Pause | None


def document_stopped(facts: DocumentFacts) -> Verdict | None:
    """Where a document stopped before it could be searched; ``None`` if it can be."""
    found, key = facts.document, visible(shlex.quote(facts.key))
    show = f"rag-assets documents show {key}"
    scan, later = "rag-assets documents scan", "a file that was just written waits for the next one"
    if found is None and facts.unscanned:
        reason = f"Its file is in the inbox, and no scan has taken it in; {later}."
        return Verdict("not_embedded", reason, scan)
    if found is None:
        near = f" Similar: {', '.join(facts.near)}." if facts.near else ""
        reason = f"No document with this key was ever in the inbox.{near}"
        return Verdict("not_in_source", reason, "rag-assets documents list")
    add = f"rag-assets documents add {visible(shlex.quote(PurePath(found.path).name))}"
    if found.withdrawn_by == "inbox":
        return Verdict("not_in_source", "Its file is no longer in the inbox.", add)
    if found.withdrawn_by == "command":
        reason = "An operator withdrew it from search; adding its file again restores it."
        return Verdict("refused_by_policy", reason, add)
    if not any(passage.embedded for passage in facts.passages):
        if found.state == "ready" and not facts.passages:
            reason = f"It has {found.chunks or 0} passages, and none at {facts.position}."
            return Verdict("not_in_source", reason, show)
        reason, command = _unprocessed(facts, found, key)
        return Verdict("not_embedded", reason, command)
    if found.stored_hash != found.content_hash:
        reason = "Its file changed; searches use its previous text until it is processed again. "
        why, command = _unprocessed(facts, found, key)
        return Verdict("stale", reason + why, command)
    if facts.unscanned:
        reason = f"Its file changed, and no scan has taken that in; {later}."
        return Verdict("stale", reason, scan)
    if not any(passage.current for passage in facts.passages):
        reason = "Its vector is that of another text, or was not written by an embedding run."
        return Verdict("stale", reason, "rag-assets audit --repair")
    if not facts.released:
        reason = f"Release {facts.release_id} has no documents."
        return Verdict("not_in_release", reason, "rag-assets release gate")
    return None


def _unprocessed(facts: DocumentFacts, found: Document, key: str) -> tuple[str, str]:
    """Why a document waits, and the next command."""
    if found.state == "dead":
        error = f"{found.error_class}: {_clause(found.error or '')}"
        return f"It is a dead letter after {found.attempts} attempts: {error}.", (
            f"rag-assets documents retry {key}"
        )
    if found.state == "running":
        return f"Run {found.run_id} is processing it.", f"rag-assets documents show {key}"
    if facts.pause is not None:
        return f"It waits in lane {found.lane}, paused {_clause(facts.pause.description)}.", (
            f"rag-assets documents resume {found.lane}"
        )
    if found.state == "waiting" and found.error:
        return f"Its last attempt failed, and is to be repeated: {_clause(found.error)}.", (
            f"rag-assets documents show {key}"
        )
    if found.state == "waiting":
        return f"It is pending in lane {found.lane}.", f"rag-assets documents show {key}"
    return "It was processed, but this passage has no vector in the space that is searched.", (
        "rag-assets audit --repair"
    )


def _clause(sentence: str) -> str:
    """A sentence to stand within another one."""
    return visible(sentence.strip().rstrip("."))
