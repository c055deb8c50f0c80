"""A Bible run fails under the real daemon while no document waits: it is noticed immediately."""

from __future__ import annotations

import time

import pytest

from openai_emulator.faults import Fault, FaultKind
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.operations.scenario import Scenario, scenario

CODES = ("EN_A", "PT_B")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_failed_bible_run_is_an_incident_a_message_and_an_alert_until_it_succeeds() -> None:
    with scenario(latency_ms=10) as seen:
        bibles = seen.site.folder / "bibles"
        seen.site.emulator.order(Fault(FaultKind.INSUFFICIENT_QUOTA))
        for code in CODES:
            write_usfm_version(bibles, code, sentences(3, word=code))
        seen.until(lambda: len(seen.slack.texts) > 0, "the failure is told", 240)
        seen.one_incident("job-failed", "bible_embeddings")
        (told,) = seen.slack.texts
        assert "bible_embeddings failed for " in told
        assert "QuotaExceededError" in told
        seen.until(lambda: failing(seen) == set(CODES), "both versions have failed", 120)
        seen.until(lambda: seen.recorded.largest("rag_runs_failing") == 2, "it is measured", 30)
        time.sleep(7)  # the alert waits for five samples, a minute each
        seen.sets_off("RAGJobFailed", step_s=60)
        assert len(seen.slack.texts) == 1

        seen.site.emulator.clear_faults()
        for code in CODES:
            write_usfm_version(bibles, code, sentences(3, word=f"new {code}"))
        seen.until(lambda: seen.incidents()[0]["state"] == "closed", "the incident is closed", 240)


def failing(seen: Scenario) -> set[str]:
    """Partitions with a reported failure."""
    return {row[0] for row in seen.rows("SELECT partition FROM ended_runs WHERE cause IS NOT NULL")}
