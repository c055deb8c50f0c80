"""A refusal as an operator reads it: its reasons grouped by what fixes them. Pure.

The command line, Dagster's metadata, messages and the doctor all show these groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rag_assets.documents.corpora import asset_name
from rag_assets.index.indexed_tables import ASSETS
from rag_assets.index.quality import QUALITY_CHECK
from rag_assets.release.reasons import DOCUMENTS_INDEX, INDEX, RELEASE, Reason

Act = Literal["index", "documents_index", "embed", "process", "quality", "confirm", "add"]
_VERSIONS = 5
_COMMANDS: Mapping[Act, str] = {
    "index": "`rag-assets index build`",
    "documents_index": "`rag-assets index build --corpus documents`",
    "quality": "materialize retrieval_quality",
    "confirm": "`rag-assets release activate --after-rollback`",
    "add": "`rag-assets bible embed` with the code of a version (`rag-assets bible list`)",
}
_EFFECTS: Mapping[Act, str] = {
    "index": "decides on the index, builds it if that is needed, and checks it",
    "documents_index": "checks the documents' vectors, decides on their index, and checks it",
    "embed": "embeds what is missing or stale, and checks the vectors; the rest costs nothing",
    "process": "embeds their passages again",
    "quality": "asks the golden queries; a figure under the floor needs a better corpus or model",
    "confirm": "confirms that the cause of the rollback is fixed, and releases",
    "add": "loads and embeds it, so that there is something to release",
}
_ASSET: Mapping[Act, str] = {
    "index": ASSETS["bible"].index,
    "documents_index": ASSETS["documents"].index,
    "embed": ASSETS["bible"].vectors,
    "quality": QUALITY_CHECK,
}
"""The asset whose materialization is the fix."""

_SOON: Mapping[Act, str] = {
    "index": "within seconds, unless the backfill's window has versions left",
    "documents_index": "within 15 minutes",
}


@dataclass(frozen=True)
class PlannedWork:
    """An asset, or one partition of it, that a run under way materializes or will."""

    run_id: str
    asset: str
    partition: str | None = None


@dataclass(frozen=True)
class Automation:
    """What Dagster is doing about it.

    :param works: all that runs under way will materialize.
    :param alive: whether the daemon reported recently; without it, no sensor starts a run.
    :param nightly_at: when the nightly index runs.
    :param automatic: whether release_automation starts runs.
    :param due: the assets of indexes whose vectors changed after their last run began, so that
        release_automation starts another.
    """

    works: tuple[PlannedWork, ...] = ()
    alive: bool = False
    nightly_at: str = ""
    automatic: bool = False
    due: tuple[str, ...] = ()


@dataclass(frozen=True)
class FixGroup:
    """Reasons with the same fix.

    :param command: what to run.
    :param effect: what that does.
    :param automation: what already does it, or will; empty if an operator must.
    """

    command: str
    effect: str
    automation: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.title}: {'; '.join(self.reasons)}"

    @property
    def title(self) -> str:
        """The command, or what makes it needless."""
        if self.automation:
            return f"{self.automation}; to do it now: {self.command}"
        return f"run {self.command}" if self.command.startswith("`") else self.command


def grouped(reasons: Iterable[Reason], automation: Automation) -> tuple[FixGroup, ...]:
    """Group reasons by their fix, in the order in which the fixes are to be made.

    Vectors come before their index, whose checks they would make stale.
    """
    found: dict[Act, list[Reason]] = {}
    for reason in reasons:
        found.setdefault(_act(reason), []).append(reason)
    order: tuple[Act, ...] = (
        "add", "embed", "process", "index", "documents_index", "quality", "confirm",
    )  # fmt: skip
    return tuple(_group(act, found[act], automation) for act in order if act in found)


def command_of(reason: Reason) -> str:
    """The command that fixes one reason."""
    return _command(_act(reason), [reason.subject])


def _act(reason: Reason) -> Act:
    match reason.subject:
        case subject if subject == INDEX:
            return "index"
        case subject if subject == DOCUMENTS_INDEX:
            return "documents_index"
        case _ if reason.of_documents:
            current = reason.kind == "failed" or reason.check == "large_vectors"
            return "process" if current else "documents_index"
        case subject if subject == RELEASE:
            if reason.check == QUALITY_CHECK:
                return "quality"
            return "confirm" if reason.check == "rolled_back" else "add"
        case _:
            return "embed"


def _group(act: Act, reasons: Sequence[Reason], automation: Automation) -> FixGroup:
    subjects = list(dict.fromkeys(reason.subject for reason in reasons))
    return FixGroup(
        _command(act, subjects),
        _EFFECTS[act],
        _at_work(act, subjects, automation),
        tuple(map(str, reasons)),
    )


def _command(act: Act, subjects: Sequence[str]) -> str:
    if act == "process":
        assets = " and ".join(asset_name(corpus, "embeddings") for corpus in subjects)
        return f"materialize {assets} of these documents"
    if act != "embed":
        return _COMMANDS[act]
    more = " …" if len(subjects) > _VERSIONS else ""
    return f"`rag-assets bible embed {' '.join(subjects[:_VERSIONS])}{more}`"


def _at_work(act: Act, subjects: Sequence[str], automation: Automation) -> str:
    """What already makes the fix, or will without an operator."""
    if act not in _ASSET:
        return ""
    wanted = set(subjects) if act == "embed" else {None}
    runs = {
        work.partition if act == "embed" else None: work.run_id
        for work in automation.works
        if work.asset == _ASSET[act]
    }
    due = automation.automatic and _ASSET[act] in automation.due
    ids = sorted({runs[one][:8] for one in wanted}) if wanted <= runs.keys() else []
    named = f"{'run' if len(ids) == 1 else 'runs'} {', '.join(ids)}"
    if ids and not due:
        return f"{named} will do this"
    if act == "embed" or not automation.alive:
        return ""
    embedding = any(work.asset == ASSETS["bible"].vectors for work in automation.works)
    if act == "index" and embedding and automation.automatic:
        return "release_automation will do this when no vectors are being embedded"
    if due:
        return f"release_automation will do this {f'after {named}' if ids else _SOON[act]}"
    if automation.nightly_at:
        return f"nightly_index will do this at {automation.nightly_at}"
    return ""
