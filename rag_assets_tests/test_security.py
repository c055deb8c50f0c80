"""The page on security names tests that there are, and what it says of Celery's messages is so."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads, prepare_accept_content

from rag_assets.operations.broker import open_broker
from rag_assets.postgres.roles import WRITTEN_BY_API
from rag_assets.settings.model import Settings

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = (ROOT / "docs/security.md").read_text("utf-8")


def test_every_test_that_it_names_is_there_and_tests_something() -> None:
    named = set(re.findall(r"`((?:\w+/)*test_\w+\.py)`", PAGE))
    assert len(named) > 30
    for name in named:
        assert "\ndef test_" in (TESTS / name).read_text("utf-8"), name


def test_every_threat_names_a_test_that_holds_it() -> None:
    threats = re.findall(r"^- \*\*.*?(?=^- \*\*|^\*Left|^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(threats) > 25
    assert [threat for threat in threats if "test_" not in threat] == []


def test_every_boundary_says_what_is_left() -> None:
    boundaries = PAGE.split("\n### ")[1:]
    assert len(boundaries) == 8
    assert [one.splitlines()[0] for one in boundaries if "\n*Left:* " not in one] == []


def test_settings_that_it_names_are_settings() -> None:
    known = {name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"`(RAG_\w+|OPENAI_\w+)", PAGE)) <= known


@pytest.mark.parametrize("lock", sorted(path.name for path in ROOT.glob("requirements*.lock")))
def test_every_package_is_locked_by_its_hash_and_installed_by_it(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) > 30
    assert [one.splitlines()[0] for one in packages if "--hash=sha256:" not in one] == []
    for recipe in ("Makefile", "Dockerfile"):
        lines = (ROOT / recipe).read_text("utf-8").splitlines()
        installing = [line for line in lines if f"-r {lock}" in line]
        assert [line for line in installing if "--require-hashes" not in line] == []


def test_what_the_api_may_write_is_what_the_page_says() -> None:
    tables = {table for table, _ in WRITTEN_BY_API}
    assert tables == {"query_embeddings", "api_limits", "documents", "live_recall"}


def test_a_pickled_message_is_refused_unread() -> None:
    from rag_assets.defs.celery_worker import worker_app

    broker = open_broker(Settings(rag_celery_broker_url="redis://127.0.0.1:1/0"))
    assert broker is not None
    accepted = prepare_accept_content(worker_app(broker).conf.accept_content)
    harmful = pickle.dumps(_Harmful())
    with pytest.raises(ContentDisallowed):
        loads(harmful, "application/x-python-serialize", "binary", accept=accepted)
    assert loads(b'{"run": 1}', "application/json", "utf-8", accept=accepted) == {"run": 1}


class _Harmful:
    """Read, it would end the tests."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return exit, (1,)
