"""The broker that distributes runs over several machines: Redis, as Celery uses it.

This module knows its address, its workers and the heartbeats of runs. ``defs/celery.py`` starts and
terminates runs. Celery is an extra and therefore imported lazily.
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
"""Celery's queues: one per document lane; all other runs share the small documents' queue."""
_KEPT_S = 7 * 86_400
_PRIORITIES = (0, 3, 6, 9)  # kombu keeps one list for each of these


def queue_of(lane: str | None) -> str:
    """Return the queue of a run in this lane."""
    return lane if lane in QUEUES else PROCESSING


@dataclass(frozen=True)
class Broker:
    """One Redis. ``url`` may hold a password: it is never shown.

    :param timeout_s: time limit in seconds for connecting and for each answer.
    """

    url: str = field(repr=False)
    timeout_s: float

    def describe(self) -> str:
        """Return host and port, for messages and logs."""
        parts = urlsplit(self.url)
        return f"Redis on {parts.hostname}:{parts.port or 6379}"

    def options(self) -> dict[str, Any]:
        """Return Celery's configuration, the same for the launcher and the workers.

        A task is acknowledged when it starts: retrying runs is up to Dagster. A task that a worker
        took and did not start goes to another worker after a minute. Keepalives and health checks
        detect a lost peer within seconds rather than hours.
        """
        timeouts = {
            "socket_connect_timeout": self.timeout_s,
            "socket_timeout": self.timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
        return {
            "broker_transport_options": {
                **timeouts,
                "visibility_timeout": 60,
                "unacked_restore_throttle": 1,
            },
            "broker_connection_max_retries": None,  # no limit
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
            "worker_disable_prefetch": True,  # a host that is cut off holds no tasks in reserve
            "worker_max_tasks_per_child": 1,  # one process per run, as on a single machine
            "worker_hijack_root_logger": False,
            "worker_redirect_stdouts": False,  # Dagster captures what a run prints
            "worker_cancel_long_running_tasks_on_connection_loss": False,
        }

    def ping(self) -> None:
        """Check that Redis answers, accepts writes and reports idle times.

        :raises BrokerUnavailableError: one of these failed.
        """
        with self._explained():
            self._redis.set("rag:ping", "yes", ex=60)
            self._redis.object("idletime", "rag:ping")

    def workers(self) -> Mapping[str, tuple[str, ...]]:
        """Return the names of workers that take new runs, by queue, within ``timeout_s`` seconds.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        self.ping()
        from celery import Celery  # noqa: PLC0415

        app = Celery(broker=self.url)
        app.conf.update(self.options())
        # A new connection: one from Celery's pool may predate a restart of Redis.
        with self._explained(), app.connection_for_read() as connection:
            asked = app.control.inspect(timeout=min(2.0, self.timeout_s), connection=connection)
            answers = asked.active_queues() or {}
        return {
            queue: tuple(
                sorted(
                    name
                    for name, listens in answers.items()
                    if isinstance(listens, list)  # an error otherwise
                    and queue in {one["name"] for one in listens}
                )
            )
            for queue in QUEUES
        }

    def expect(self, run_id: str) -> None:
        """Record that a run was sent: its heartbeats are expected from now on.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        with self._explained():
            self._redis.set(_heartbeat_key(run_id), "sent", ex=_KEPT_S)

    def beat(self, run_id: str) -> bool:
        """Record a run's heartbeat; return whether it may continue, i.e. was not given up.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        with self._explained(), self._redis.pipeline() as pipeline:
            pipeline.set(_heartbeat_key(run_id), "alive", ex=_KEPT_S)
            pipeline.exists(_given_up_key(run_id))
            return not pipeline.execute()[1]

    def silence_s(self, run_id: str) -> float:
        """Return the seconds since a run's last heartbeat, or since it was sent.

        Measured by Redis' own idle time, which pauses while Redis is down and restarts from zero
        with it, so that an outage of the broker is not mistaken for that of a worker.

        :raises BrokerUnavailableError: the broker does not answer, or tracks no idle times.
        """
        with self._explained():
            idle = self._redis.object("idletime", _heartbeat_key(run_id))
            if idle is None:  # the broker lost its data
                self.expect(run_id)
                return 0.0
            return float(str(idle))

    def give_up(self, run_id: str) -> None:
        """Make the run's process end if it still runs on a host that was cut off.

        :raises BrokerUnavailableError: the broker does not answer.
        """
        with self._explained():
            self._redis.set(_given_up_key(run_id), "yes", ex=_KEPT_S)

    def waiting(self) -> frozenset[str]:
        """Return the ids of tasks that no worker has started.

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
    """Return the configured broker, without connecting.

    :raises ConfigurationError: RAG_CELERY_BROKER_URL is not set or not a Redis address, or Celery
        is not installed.
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
    """Add the password to the address, and require a verified certificate for TLS.

    :raises ValueError: it is not a Redis address; the message may contain the password.
    """
    parts = urlsplit(url)
    _ = parts.port  # raises if it is not a number
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


def _heartbeat_key(run_id: str) -> str:
    """Key of a run's heartbeat. Its value is no number: Redis shares those and their idle times."""
    return f"rag:sign:{run_id}"


def _given_up_key(run_id: str) -> str:
    return f"rag:given-up:{run_id}"
