"""``rag-assets up``: Dagster's UI, daemon and code server, and the retrieval API, until Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from rag_assets.cli.embedded_keeper import EmbeddedKeeper
from rag_assets.cli.opening import UI_ADDRESS, open_private, refuse_taken, ui_address
from rag_assets.cli.options import within
from rag_assets.cli.output import Json, errors_as_sentences, out, plain, remark, show_json
from rag_assets.cli.serve import refuse_open_to_all
from rag_assets.cli.supervisor import Service, Supervisor
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import embedded_folder
from rag_assets.postgres.migrations import open_migrated
from rag_assets.settings.model import Settings, load_settings, refuse_contradictions

_READY_TIMEOUT_S = 180
_LOG = "up.log"


def up(
    host: Annotated[
        str, typer.Option(help="Address of the UI. It has no login: keep it on loopback.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(**within("rag_ui_port"), help="Port of the UI: RAG_UI_PORT.")
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(**within("rag_api_port"), help="Port of the API: RAG_API_PORT.")
    ] = None,
    api: Annotated[
        bool,
        typer.Option(" /--no-api", show_default=False, help="Do not start the retrieval API."),
    ] = True,
    as_json: Json = False,
) -> None:
    """Run Dagster's UI and daemon and the retrieval API until Ctrl-C, which stops everything.

    ```
    rag-assets up
    rag-assets up --port 3001 --api-port 8001
    ```
    """
    with errors_as_sentences(as_json):
        # Here: Dagster takes 2 s to import.
        from rag_assets.defs.launch import open_instance, refuse_second_daemon  # noqa: PLC0415

        settings = load_settings()
        refuse_contradictions()
        home = settings.rag_home
        home.mkdir(parents=True, exist_ok=True)
        with _only_one(home / "up.lock"):
            database = open_migrated(settings)
            port = (settings.rag_ui_port if port is None else port) or _free_port(host)
            refuse_taken(host, port, "--port, or RAG_UI_PORT")
            url, api_url = f"http://{host}:{port}", None
            services = [*_dagster(home, host, port, links=ui_address(settings) or url), _watch(url)]
            if api:
                refuse_open_to_all(settings, database)
                api_port = _chosen_api_port(settings, api_port, but=port)
                services.insert(0, _api(api_port))
                api_url = f"http://{settings.rag_api_host}:{api_port}"
            instance = open_instance()
            refuse_second_daemon(instance, say=remark)
            threading.Thread(
                target=_say_when_ready, args=(url, api_url, as_json), daemon=True
            ).start()
            if not as_json:
                log = plain(home / _LOG)
                out.print(f"database: {plain(database.describe())}", f"log: {log}", sep="\n")
                out.print(f"starting Dagster on {url} …")
            try:
                (home / UI_ADDRESS).write_text(url, encoding="utf-8")
                _supervise(services, settings)
            finally:
                (home / UI_ADDRESS).unlink(missing_ok=True)
                with suppress(Exception):  # its database may be unreachable
                    instance.wipe_daemon_heartbeats()
    if not as_json:
        out.print("stopped")


def _supervise(services: Sequence[Service], settings: Settings) -> None:
    """Keep the services running until a signal ends them."""
    with open_private(settings.rag_home / _LOG) as log:
        check = _keep_embedded(settings)
        Supervisor(services, log=log, say=remark, check=check).run()


def _keep_embedded(settings: Settings) -> Callable[[], None]:
    """A check that restarts the embedded server; it never touches one of RAG_DATABASE_URL."""
    if settings.rag_database_url is not None:
        return lambda: None
    return EmbeddedKeeper(embedded_folder(settings), say=remark).check


def _api(port: int) -> Service:
    """The retrieval API, which depends on none of the other services."""
    command = [sys.executable, "-m", "rag_assets.cli.entry", "serve", "--port", str(port)]
    return Service("api", command)


def _watch(url: str) -> Service:
    """What makes documents and versions run without waiting for the sensors."""
    command = [sys.executable, "-m", "rag_assets.cli.entry", "watch", "--dagster", url]
    return Service("watch", command)


def _dagster(home: Path, host: str, port: int, *, links: str) -> list[Service]:
    """Code server, UI and daemon. UI and daemon load the code from the code server.

    :param links: the UI's address in messages.
    """
    code_port = _free_port("127.0.0.1")
    workspace = home / "up-workspace.yaml"
    workspace.write_text(
        "load_from:\n  - grpc_server:\n      host: 127.0.0.1\n"
        f"      port: {code_port}\n      location_name: rag_assets\n",
        encoding="utf-8",
    )
    # DAGSTER_HOME is the folder of dagster.yaml, unless the environment sets it.
    environment = {
        "DAGSTER_HOME": os.environ.get("DAGSTER_HOME") or str(Path.cwd()),
        "RAG_PUBLIC_URL": links,
        # A tick of the weekend backfill may plan many versions.
        "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS": os.environ.get(
            "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS", "300"
        ),
    }
    python = [sys.executable, "-m"]
    return [
        Service(
            "code",
            [*python, "rag_assets.defs.code_server", "-m", "rag_assets.definitions",
             "-h", "127.0.0.1", "-p", str(code_port), "--location-name", "rag_assets",
             "--use-python-environment-entry-point", "--log-level", "warning"],
            environment,
            port=code_port,
        ),
        Service(
            "webserver",
            [*python, "dagster_webserver", "-w", str(workspace), "-h", host, "-p", str(port),
             "--log-level", "warning"],
            environment,
        ),
        Service(
            "daemon",
            [*python, "dagster._daemon", "run", "-w", str(workspace), "--log-level", "warning"],
            environment,
        ),
    ]  # fmt: skip


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Refuse a second `up` in the same folder. The lock ends with its process."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"`rag-assets up` is already running in this folder ({path.parent}): stop it first"
            ) from None
        yield


def _chosen_api_port(settings: Settings, port: int | None, *, but: int) -> int:
    host = settings.rag_api_host
    port = settings.rag_api_port if port is None else port
    port = port or _free_port(host)
    refuse_taken(host, port, "--api-port, or RAG_API_PORT", but=but)
    return port


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _say_when_ready(url: str, api_url: str | None, as_json: bool) -> None:
    if _answers(f"{url}/server_info") and not as_json:
        out.print(f"[bold green]ready:[/bold green] {url} — Ctrl-C stops everything")
    if api_url and _answers(f"{api_url}/healthz") and not as_json:
        out.print(f"[bold green]ready:[/bold green] {api_url} — the retrieval API and its page")
    if as_json:
        show_json({"event": "ready", "url": url, "api": api_url})


def _answers(url: str) -> bool:
    """Whether the address answers in time; waits for it."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310
            return True
        time.sleep(0.5)
    return False
