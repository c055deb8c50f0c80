"""The metrics over HTTP, in this process and by the command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rag_assets.errors import ConfigurationError
from rag_assets.operations.exporter import PATH, _Quiet, exporting
from rag_assets.postgres.database import Database
from rag_assets_tests.api.server import environment_of
from rag_assets_tests.cli.conftest import PROGRAM
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.operations.filled import metrics_of, samples


def test_prometheus_gets_the_text_format_or_openmetrics_on_request(
    database: Database, make_settings: MakeSettings
) -> None:
    with exporting(metrics_of(make_settings(), database), host="127.0.0.1", port=0) as url:
        with httpx.Client(trust_env=False) as http:
            plain = http.get(url)
            openmetrics = http.get(url, headers={"Accept": "application/openmetrics-text"})
        assert url.endswith(PATH)
        assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert samples(plain.text)['rag_database_up{database="corpus"}'] == 1
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
        assert openmetrics.text.endswith("# EOF\n")
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


def test_health_queries_no_database_and_other_paths_name_the_metrics_path(
    database: Database, make_settings: MakeSettings
) -> None:
    metrics = metrics_of(make_settings(), database.named("nowhere"))
    with exporting(metrics, host="127.0.0.1", port=0) as url:
        origin = url.removesuffix(PATH)
        assert httpx.get(f"{origin}/healthz", trust_env=False).text == "alive\n"
        lost = httpx.get(f"{origin}/elsewhere", trust_env=False)
        assert (lost.status_code, lost.text) == (404, f"the metrics are at {PATH}\n")


def test_a_silent_client_does_not_keep_its_thread(
    database: Database,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert _Quiet.timeout == 10
    monkeypatch.setattr(_Quiet, "timeout", 0.2)
    with exporting(metrics_of(make_settings(), database), host="127.0.0.1", port=0) as url:
        port = httpx.URL(url).port
        assert port
        for half in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Ha"):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
                silent.sendall(half)
                assert silent.recv(1) == b""
    assert capfd.readouterr().err == ""


def test_ipv6_can_be_listened_on(database: Database, make_settings: MakeSettings) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with exporting(metrics_of(make_settings(), database), host="::1", port=0) as url:
        assert url.startswith("http://[::1]:")
        assert httpx.get(url, trust_env=False).status_code == 200


def test_a_port_in_use_is_reported_with_the_fix(
    database: Database, make_settings: MakeSettings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        metrics = metrics_of(make_settings(), database)
        with (
            pytest.raises(ConfigurationError, match="RAG_EXPORTER_PORT"),
            exporting(metrics, host="127.0.0.1", port=port),
        ):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_address_serves_and_stops_on_a_signal(
    database: Database, tmp_path: Path, number: signal.Signals
) -> None:
    # The database is away at first: that is what it has to tell.
    away = environment_of(database.named("nowhere"))
    command = [PROGRAM, "exporter", "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=away, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        told = ""
        try:
            while not told.endswith("}\n"):
                told += process.stdout.readline()
            text = httpx.get(json.loads(told)["url"], trust_env=False).text
            assert samples(text)['rag_database_up{database="corpus"}'] == 0
            process.send_signal(number)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_other_commands_do_not_import_the_exporter() -> None:
    """prometheus_client looks once where the API's workers count: when it is imported."""
    code = "import sys, rag_assets.cli.main; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
