"""The broker by which runs go to several machines: Redis, as Celery uses it.

Here stand its address, who listens to it, and the signs of life that runs give through it. What
starts and ends runs is in ``defs/celery.py``. Celery is an extra: it is imported when it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from rag_assets.errors import BrokerUnavailableError, ConfigurationError, reason_of
from rag_assets.lanes import DOCUMENT_LANES, PROCESSING
from rag_assets.settings.model import Settings

if TYPE_CHECKING:
    from redis import Redis

QUEUES = DOCUMENT_LANES
"""Celery's queues: each lane of documents has one; whatever else runs goes with the small ones."""
_KEPT_S = 7 * 86_400
_PRIORITIES = (0, 3, 6, 9)  # the steps for which kombu keeps a list each


def queue_of(lane: str | None) -> str:
    """The queue of a run in this lane."""
    return lane if lane in QUEUES else PROCESSING


@dataclass(frozen=True)
class Broker:
    """One Redis. ``url`` may hold a password: it is never shown.

    :param timeout_s: seconds that it has to take a connection, and to answer.
    """

    url: str = field(repr=False)
    timeout_s: float

    def describe(self) -> str:
        """Host and port, for people and logs."""
        parts = urlsplit(self.url)
        return f"Redis on {parts.hostname}:{parts.port or 6379}"

    def options(self) -> dict[str, Any]:
        """Celery's configuration, the same for who sends runs and who takes them.

        What is taken is acknowledged when it begins: whether a run is tried again is Dagster's
        affair. What a worker took and did not begin is given to another after a minute. A side that
        is gone without a word is noticed by keepalives and health checks, not after hours.
        """
        patience = {
            "socket_connect_timeout": self.timeout_s,
            "socket_timeout": self.timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
        return {
            "broker_transport_options": {
                **patience,
                "visibility_timeout": 60,
                "unacked_restore_throttle": 1,
            },
            "broker_connection_max_retries": None,  # for ever
            "broker_connection_retry_on_startup": True,
            "broker_connection_timeout": self.timeout_s,
            "redis_socket_connect_timeout": self.timeout_s,
            "redis_socket_timeout": self.timeout_s,
            "redis_socket_keepalive": True,
            "redis_backend_health_check_interval": 10,
            "result_expires": _KEPT_S,
            "task_ignore_result": False,
            "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0.1},
            "task_track_started": True,
            "worker_prefetch_multiplier": 1,
            "worker_disable_prefetch": True,  # a host that is cut off holds nothing in reserve
            "worker_max_tasks_per_child": 1,  # a run's process is its own, as on one machine
            "worker_hijack_root_logger": False,
            "worker_redirect_stdouts": False,  # Dagster keeps what a run prints
            "worker_cancel_long_running_tasks_on_connection_loss": False,
        }

    def ping(self) -> None:
        """Ask whether it answers, keeps what it is given, and for how long that was not touched.

        :raises BrokerUnavailableError: it does not.
        """
        with self._explained():
            self._redis.set("rag:ping", "yes", ex=60)
            self._redis.object("idletime", "rag:ping")

    def workers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the workers that take new runs, by queue. Takes up to ``timeout_s`` seconds.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        self.ping()
        from celery import Celery  # noqa: PLC0415

        app = Celery(broker=self.url)
        app.conf.update(self.options())
        # A connection of its own: one from Celery's pool may be from before a restart of Redis.
        with self._explained(), app.connection_for_read() as connection:
            asked = app.control.inspect(timeout=min(2.0, self.timeout_s), connection=connection)
            answers = asked.active_queues() or {}
        return {
            queue: tuple(
                sorted(
                    name
                    for name, listens in answers.items()
                    if isinstance(listens, list)  # or what went wrong with it
                    and queue in {one["name"] for one in listens}
                )
            )
            for queue in QUEUES
        }

    def expect(self, run_id: str) -> None:
        """Note that a run was sent: from now on it is looked for.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        with self._explained():
            self._redis.set(_sign(run_id), "sent", ex=_KEPT_S)

    def beat(self, run_id: str) -> bool:
        """Give a sign of life of a run; whether it may go on: it was not given up meanwhile.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        with self._explained(), self._redis.pipeline() as pipeline:
            pipeline.set(_sign(run_id), "at work", ex=_KEPT_S)
            pipeline.exists(_given_up(run_id))
            return not pipeline.execute()[1]

    def silence_s(self, run_id: str) -> float:
        """Seconds since a run's last sign of life, or since it was sent.

        By Redis' own idle time: it stands still while Redis does, and begins anew after a restart,
        so that an outage of the broker is not taken for one of its workers.

        :raises BrokerUnavailableError: the broker does not answer, or keeps no such time.
        """
        with self._explained():
            idle = self._redis.object("idletime", _sign(run_id))
            if idle is None:  # a broker that lost what it held
                self.expect(run_id)
                return 0.0
            return float(str(idle))

    def give_up(self, run_id: str) -> None:
        """Let the run's process end, should it still live, on a host that was cut off.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        with self._explained():
            self._redis.set(_given_up(run_id), "yes", ex=_KEPT_S)

    def waiting(self) -> frozenset[str]:
        """Ids of the tasks that no worker has begun.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        lists = [
            f"{queue}\x06\x16{step}" if step else queue for queue in QUEUES for step in _PRIORITIES
        ]
        with self._explained(), self._redis.pipeline() as pipeline:
            for name in lists:
                pipeline.lrange(name, 0, -1)
            pipeline.hvals("unacked")
            *queued, taken = pipeline.execute()
        messages = [json.loads(text) for found in queued for text in found]
        messages += [json.loads(text)[0] for text in taken]
        return frozenset(str(message["headers"]["id"]) for message in messages)

    @cached_property
    def _redis(self) -> Redis:
        from redis import Redis  # noqa: PLC0415

        return Redis.from_url(
            self.url,
            socket_timeout=self.timeout_s,
            socket_connect_timeout=self.timeout_s,
            socket_keepalive=True,
            health_check_interval=10,
        )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from kombu.exceptions import OperationalError  # noqa: PLC0415
        from redis.exceptions import (  # noqa: PLC0415
            AuthenticationError,
            RedisError,
            ResponseError,
        )

        try:
            yield
        except AuthenticationError:
            raise BrokerUnavailableError(
                f"{self.describe()} refuses the password: correct RAG_CELERY_BROKER_URL or "
                "RAG_CELERY_BROKER_PASSWORD"
            ) from None
        except ResponseError as error:  # a replica, a full disk, a policy without idle times
            raise BrokerUnavailableError(
                f"{self.describe()} answers: {reason_of(error)[:200]}: it must be one that can be "
                "written to, with maxmemory-policy noeviction"
            ) from None
        except (RedisError, OperationalError, OSError) as error:
            raise BrokerUnavailableError(
                f"the broker cannot be reached ({self.describe()}): is it running, and is "
                f"RAG_CELERY_BROKER_URL right? ({type(error).__name__})"
            ) from None


def open_broker(settings: Settings) -> Broker:
    """The broker of the settings. Nothing is connected.

    :raises ConfigurationError: RAG_CELERY_BROKER_URL is not set, or no address of Redis; or Celery
        is missing.
    """
    if settings.rag_celery_broker_url is None:
        raise ConfigurationError(
            "RAG_CELERY_BROKER_URL is not set: deploy/celery/dagster.yaml and `rag-assets worker` "
            "need the address of Redis, as redis://:password@host:6379/0"
        )
    try:
        import celery  # noqa: F401, PLC0415
        import redis  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigurationError(
            "RAG_CELERY_BROKER_URL is set, but Celery is not installed here: "
            "`pip install 'rag-assets[celery]'`"
        ) from None
    url = settings.rag_celery_broker_url.get_secret_value()
    password = settings.rag_celery_broker_password
    try:
        return Broker(
            _address(url, password.get_secret_value() if password else None),
            settings.rag_celery_timeout_s,
        )
    except ValueError:
        raise ConfigurationError(
            "RAG_CELERY_BROKER_URL is not an address of Redis: write it as "
            "redis://:password@host:6379/0, or rediss:// for TLS; in a password %40 stands for @ "
            "and %2F for /"
        ) from None


def _address(url: str, password: str | None) -> str:
    """The address with its password, and with a certificate that is verified.

    :raises ValueError: it is not one of Redis; the message may hold the password.
    """
    parts = urlsplit(url)
    _ = parts.port  # raises where it is no number
    number = parts.path.strip("/")
    if (
        parts.scheme not in ("redis", "rediss")
        or not parts.hostname
        or not (number == "" or number.isdigit())
    ):
        raise ValueError
    if "@" in parts.netloc.rpartition("@")[0]:  # a part of the password
        raise ValueError
    if password and parts.password is None:
        place = parts.netloc.rpartition("@")[2]
        parts = parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{place}")
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in parts.query:
        both = [parts.query, "ssl_cert_reqs=required"]
        parts = parts._replace(query="&".join(filter(None, both)))
    return urlunsplit(parts)


def _sign(run_id: str) -> str:
    """Its value is no number: Redis shares those, with one idle time for all that have it."""
    return f"rag:sign:{run_id}"


def _given_up(run_id: str) -> str:
    return f"rag:given-up:{run_id}"
