"""A real headless browser, controlled through its DevTools protocol over two pipes."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
_ANSWER_TIMEOUT_S = 60.0
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--no-proxy-server",
    "--remote-debugging-pipe",
)  # fmt: skip


class Chromium:
    """A running browser: commands, responses and events are messages that end with NUL."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self.process = process
        self._commands, self._answers = commands, answers
        self._rest = b""
        self._numbers = count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Send a command and wait for its result; events received meanwhile are kept."""
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._answers], [], [], _ANSWER_TIMEOUT_S)
            assert ready, "the browser does not answer"
            part = os.read(self._answers, 1 << 16)
            assert part, "the browser is gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Page:
    """A tab with its own storage."""

    def __init__(self, browser: Chromium) -> None:
        self._browser = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = browser.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._call(f"{domain}.enable")

    def open(self, url: str, *, width: int = 1300, height: int = 844, until: str) -> None:
        """Go to an address and wait until an expression is true there."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self._call("Page.navigate", url=url)
        self.wait(f"location.href !== 'about:blank' && ({until})")

    def prefer(self, scheme: str) -> None:
        """Prefer a colour scheme: ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", features=[feature])

    def press(self, key: str) -> None:
        """Press a key: a character, ``Tab`` or ``Enter``."""
        named: dict[str, dict[str, object]] = {
            "Tab": {"windowsVirtualKeyCode": 9},
            "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
        }
        about = {"key": key, **named.get(key, {"text": key})}
        self._call("Input.dispatchKeyEvent", type="keyDown", **about)
        self._call("Input.dispatchKeyEvent", type="keyUp", **about)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"{expression} never became true: {self.text()}"
            time.sleep(0.1)

    def picture(self) -> str:
        """The visible part as PNG, in base64."""
        return str(self._call("Page.captureScreenshot", format="png")["data"])

    def text(self) -> str:
        """The visible text."""
        return str(self.ask("document.body.innerText"))

    def requested(self) -> list[str]:
        """Every URL requested."""
        return [event["request"]["url"] for event in self._heard("Network.requestWillBeSent")]

    def complaints(self) -> list[str]:
        """The browser's console messages: script errors and policy violations."""
        faults = [
            event["exceptionDetails"]["text"] for event in self._heard("Runtime.exceptionThrown")
        ]
        return faults + [event["entry"]["text"] for event in self._heard("Log.entryAdded")]

    def _heard(self, method: str) -> Iterator[dict[str, Any]]:
        for event in self._browser.events:
            if event.get("sessionId") == self._session and event["method"] == method:
                yield event["params"]

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)


@contextmanager
def running_chromium(folder: Path) -> Iterator[Chromium]:
    """Start the browser and stop it at the end.

    :param folder: for its profile.
    """
    assert PROGRAM is not None
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    # It reads commands from descriptor 3 and writes to 4; the shell sets up the pipes.
    there = f'exec "$@" 3<&{commands_out} 4>&{answers_in}'
    process = subprocess.Popen(
        ["bash", "-c", there, "bash", PROGRAM, *_OPTIONS, f"--user-data-dir={folder}"],
        pass_fds=(commands_out, answers_in),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_out)
    os.close(answers_in)
    browser = Chromium(process, commands_in, answers_out)
    try:
        yield browser
        browser.call("Browser.close")
    finally:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands_in)
        os.close(answers_out)
