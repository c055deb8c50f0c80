"""Log lines that docs/operations quotes."""

from __future__ import annotations

import logging
import re
import sys
from io import StringIO
from threading import Timer

import pytest

from openai_emulator.faults import Fault, FaultKind
from rag_assets.defs.run_log import run_log
from rag_assets.errors import DatabaseUnavailableError
from rag_assets.settings.model import fingerprint
from rag_assets_tests.documents.lane import Lane


@pytest.fixture(autouse=True)
def _at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="rag_assets")


def test_each_job_is_logged_at_its_start_and_end(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    lane.drop(good="# Good\n\nA sentence.", empty="")
    lane.process()
    lines = sorted(caplog.messages)
    wanted = (
        r"job finished: empty\.md dead after \d+\.\d s: EmptyDocumentError",
        r"job finished: good\.md ready after \d+\.\d s",
        r"job started: empty\.md, attempt 1, run run",
        r"job started: good\.md, attempt 1, run run",
    )
    assert len(lines) == len(wanted)
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.fullmatch(pattern, line), line


def test_a_rate_limit_is_logged_with_the_keys_fingerprint(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    lane.drop(good="# Good\n\nA sentence.")
    lane.emulator.order(Fault(FaultKind.RATE_LIMIT, retry_after_s=0.1))
    lane.process()
    (key,) = lane.settings.api_keys()
    told = [line for line in caplog.messages if line.startswith("rate limit met")]
    assert told == [f"rate limit met: key {fingerprint(key)} rests for 0.1 s"]


def test_a_lost_worker_is_logged_once_with_its_documents(
    lane: Lane, caplog: pytest.LogCaptureFixture
) -> None:
    lane.drop(one="# One", two="# Two")
    with lane.database.connect() as connection:
        connection.execute(
            "UPDATE documents SET state = 'running', run_id = 'gone', attempts = 1,"
            " started_at = now() - interval '1 h', lease_until = now() - interval '1 s'"
        )
    lane.process()
    told = [line for line in caplog.messages if line.startswith("worker lost")]
    assert told == ["worker lost: run gone, which held 2 documents"]


def test_a_database_outage_is_logged(lane: Lane, caplog: pytest.LogCaptureFixture) -> None:
    lane.drop(one="# One\n\nA sentence.")
    lane.emulator.order(Fault(FaultKind.LATENCY, latency_ms=1500, times=1))
    with lane.database.named("postgres").connect(autocommit=True) as other:
        ending = Timer(
            0.8,
            lambda: other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (lane.database.name,),
            ),
        )
        ending.start()
        with pytest.raises(DatabaseUnavailableError):
            lane.process()
        ending.join()
    assert any(line.startswith("store timeout: run run ends: ") for line in caplog.messages)


def test_a_run_writes_them_to_standard_error_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logger = logging.getLogger("rag_assets")
    before = (logger.handlers[:], logger.level, logger.propagate)
    with run_log():
        logging.getLogger("rag_assets.documents").info("job started: %s", "one")
    assert re.fullmatch(r"[\d-]+ [\d:,]+ INFO    job started: one\n", written.getvalue())
    assert (logger.handlers[:], logger.level, logger.propagate) == before
