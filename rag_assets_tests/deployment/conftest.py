"""One machine with a Celery worker, for those tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_assets_tests.deployment.celery_machine import Machine, celery_machine


@pytest.fixture(scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory, rag_home: Path) -> Iterator[Machine]:
    with celery_machine(tmp_path_factory.mktemp("celery"), rag_home) as made:
        yield made


@pytest.fixture
def machine(
    _machine: Machine, _no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """The machine, whose settings are this process', too."""
    for name, value in _machine.environment.items():
        monkeypatch.setenv(name, value)
    return _machine
