"""A refusal names one command for all reasons that it fixes, and what automation already does."""

from __future__ import annotations

import pytest

from rag_assets.release.reasons import Reason
from rag_assets.release.refusal import Automation, PlannedWork, grouped

STALE = Reason("index", "decision", "stale", "vectors changed since it was decided on")
SLOW = Reason("index", "retrieval_latency_slo", "failed", "too slow")
A = Reason("EN_A", "freshness", "failed", "small: 2 vectors belong to an earlier text")
B = Reason("EN_B", "completeness", "missing", "small: it was never checked")


def test_reasons_with_the_same_fix_share_its_command_and_vectors_come_first() -> None:
    embed, index = grouped((STALE, A, SLOW, B), Automation())
    assert embed.command == "`rag-assets bible embed EN_A EN_B`"
    assert embed.reasons == (str(A), str(B))
    assert (index.command, index.reasons) == ("`rag-assets index build`", (str(STALE), str(SLOW)))
    assert str(index) == (
        "run `rag-assets index build`: index: decision: vectors changed since it was decided on; "
        "index: retrieval_latency_slo: too slow"
    )


@pytest.mark.parametrize(
    ("subject", "check", "kind", "command"),
    [
        ("documents", "freshness", "missing", "`rag-assets index build --corpus documents`"),
        ("documents", "provenance", "failed", "materialize document_embeddings of these documents"),
        ("handbook", "provenance", "failed", "materialize handbook_embeddings of these documents"),
        ("documents' index", "recall_at_10", "failed", "`rag-assets index build --corpus docum"),
        ("release", "rolled_back", "failed", "`rag-assets release activate --after-rollback`"),
        ("release", "vectors", "missing", "`rag-assets bible embed` with the code of a version"),
        ("EN_A", "large_vectors", "missing", "`rag-assets bible embed EN_A`"),
    ],
)
def test_every_reason_has_a_command(subject: str, check: str, kind: str, command: str) -> None:
    reason = Reason(subject, check, kind, "bad", subject in ("documents", "handbook"))  # type: ignore[arg-type]
    (fix,) = grouped([reason], Automation(alive=True, nightly_at="03:30"))
    assert fix.command.startswith(command)


BUILDS = PlannedWork("0123456789", "verse_embeddings_index")
EMBEDS = PlannedWork("0123456789", "verse_embeddings", "EN_C")
OTHER = PlannedWork("0123456789", "chunk_embeddings_index")
DUE = ("verse_embeddings_index",)


@pytest.mark.parametrize(
    ("automation", "said"),
    [
        (Automation(), ""),
        (Automation((), True, "03:30"), "nightly_index will do this at 03:30"),
        (Automation((BUILDS,), False, "03:30"), "run 01234567 will do this"),
        (
            Automation((EMBEDS,), True, "03:30", automatic=True),
            "release_automation will do this when no vectors are being embedded",
        ),
        (Automation((EMBEDS,), True, "03:30"), "nightly_index will do this at 03:30"),
        (Automation((EMBEDS,), False, "03:30"), ""),
        (Automation((OTHER,), False, "03:30"), ""),
        (
            Automation((), True, "03:30", automatic=True, due=DUE),
            "release_automation will do this within seconds, unless the backfill's window has "
            "versions left",
        ),
        (
            Automation((BUILDS,), True, "03:30", automatic=True, due=DUE),
            "release_automation will do this after run 01234567",
        ),
        (Automation((), True, "03:30", due=DUE), "nightly_index will do this at 03:30"),
    ],
)
def test_it_says_what_automation_does_about_an_index(automation: Automation, said: str) -> None:
    (fix,) = grouped([STALE], automation)
    assert fix.automation == said
    assert fix.title.endswith("`rag-assets index build`")


def test_versions_count_as_being_embedded_only_if_all_are() -> None:
    works = (PlannedWork("0123456789", "verse_embeddings", "EN_A"),)
    assert grouped([A], Automation(works))[0].automation == "run 01234567 will do this"
    assert grouped([A, B], Automation(works, alive=True))[0].automation == ""
