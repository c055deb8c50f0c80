"""A Celery worker that executes the runs that Dagster's daemon sends, each in its own process.

The definitions are loaded before processes are forked, which makes runs start seconds earlier.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from celery import Celery, signals
from dagster_celery.make_app import make_app

from rag_assets.defs.celery import configure
from rag_assets.errors import BrokerUnavailableError
from rag_assets.operations.broker import Broker

log = logging.getLogger("rag_assets.worker")
_BEATS = 5
"""Heartbeats sent in the time after which a run without one counts as lost."""


def work(broker: Broker, queues: Sequence[str], runs: int, *, lost_s: float) -> int:
    """Execute runs of these queues until SIGTERM, then finish those under way; return the status.

    :param runs: maximum number of concurrent runs.
    :param lost_s: seconds without a heartbeat after which a run counts as lost.
    :raises BrokerUnavailableError: the broker does not answer.
    """
    broker.ping()
    app = worker_app(broker)
    importlib.import_module("rag_assets.definitions").defs.get_repository_def()
    start = partial(_start_heartbeats, broker=broker, every_s=lost_s / _BEATS)
    signals.setup_logging.connect(_keep_logging, weak=False)
    signals.task_prerun.connect(start, weak=False)
    signals.task_postrun.connect(_stop_heartbeats, weak=False)
    worker = app.Worker(
        hostname=f"{'+'.join(queues)}@{socket.gethostname()}",
        queues=list(queues),
        concurrency=runs,
        pool="prefork",
        optimization="fair",
        loglevel="INFO",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def worker_app(broker: Broker) -> Celery:
    """Return a Celery app with the task that executes runs."""
    url = broker.url
    app = make_app({"broker": url, "backend": url, "config_source": broker.options()})  # type: ignore[no-untyped-call]
    configure(app)
    return app


def _keep_logging(**_: Any) -> None:
    """Prevent Celery from configuring logging, which it leaves alone if this signal is handled."""


_heartbeats_end: dict[str, threading.Event] = {}


def _start_heartbeats(task_id: str, broker: Broker, every_s: float, **_: Any) -> None:
    """Send heartbeats from a run's process until the run ends."""
    _heartbeats_end[task_id] = ended = threading.Event()
    threading.Thread(
        target=_send_heartbeats, args=(broker, task_id, every_s, ended), name="beats", daemon=True
    ).start()


def _stop_heartbeats(task_id: str, **_: Any) -> None:
    if ended := _heartbeats_end.pop(task_id, None):
        ended.set()


def _send_heartbeats(broker: Broker, run_id: str, every_s: float, ended: threading.Event) -> None:
    """Send heartbeats; interrupt the run as Ctrl-C does if it was given up.

    The interrupt is repeated at longer intervals: the run needs time to clean up, and an interrupt
    before it has begun is lost.
    """
    while not ended.is_set():
        wanted = True
        with suppress(BrokerUnavailableError):  # the run continues without the broker
            wanted = broker.beat(run_id)
        if not wanted:
            log.warning("run %s was given up or stopped by an operator: ending it", run_id)
            os.kill(os.getpid(), signal.SIGINT)
        ended.wait(every_s if wanted else _BEATS * every_s)
