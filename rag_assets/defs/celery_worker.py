"""A Celery worker that runs what Dagster's daemon sends: each run in a process of its own.

The definitions are loaded before the processes are forked, so a run starts some seconds sooner.
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
"""Signs of life in the time after which a run without one counts as lost."""


def work(broker: Broker, queues: Sequence[str], runs: int, *, lost_s: float) -> int:
    """Take runs of these queues until SIGTERM, which waits for those under way; the exit status.

    :param runs: at once.
    :param lost_s: seconds without a sign of life after which a run counts as lost.
    :raises BrokerUnavailableError: the broker does not answer.
    """
    broker.ping()
    app = worker_app(broker)
    importlib.import_module("rag_assets.definitions").defs.get_repository_def()
    signs = partial(_begin_signs, broker=broker, every_s=lost_s / _BEATS)
    signals.setup_logging.connect(_leave_logging, weak=False)
    signals.task_prerun.connect(signs, weak=False)
    signals.task_postrun.connect(_end_signs, weak=False)
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
    """Celery with the one task that it is for."""
    url = broker.url
    app = make_app({"broker": url, "backend": url, "config_source": broker.options()})  # type: ignore[no-untyped-call]
    configure(app)
    return app


def _leave_logging(**_: Any) -> None:
    """Celery leaves logging as it is where somebody listens to this."""


_signs_end: dict[str, threading.Event] = {}


def _begin_signs(task_id: str, broker: Broker, every_s: float, **_: Any) -> None:
    """In a run's own process, before it begins: say that it lives, until it ends."""
    _signs_end[task_id] = ended = threading.Event()
    threading.Thread(
        target=_give_signs, args=(broker, task_id, every_s, ended), name="signs", daemon=True
    ).start()


def _end_signs(task_id: str, **_: Any) -> None:
    if ended := _signs_end.pop(task_id, None):
        ended.set()


def _give_signs(broker: Broker, run_id: str, every_s: float, ended: threading.Event) -> None:
    """Until it ends; where it is given up meanwhile, interrupt it as Ctrl-C does.

    Once in a while: an interruption has to write down what is lost, and one that comes before the
    run has begun is not heard.
    """
    while not ended.is_set():
        wanted = True
        with suppress(BrokerUnavailableError):  # the run goes on without it
            wanted = broker.beat(run_id)
        if not wanted:
            log.warning("run %s was given up, or stopped by a person: it ends here", run_id)
            os.kill(os.getpid(), signal.SIGINT)
        ended.wait(every_s if wanted else _BEATS * every_s)
