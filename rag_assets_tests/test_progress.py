"""Long work is never silent, and its reports arrive once and in order."""

from __future__ import annotations

import threading

from rag_assets.progress import never_silent

PATIENCE_S = 10


class Heard:
    """Records reports; an event is set by the third."""

    def __init__(self) -> None:
        self.said = list[str]()
        self.three = threading.Event()

    def start(self, task: str, total: int) -> None:
        self.say(f"{task}: {total}")

    def advance(self, steps: int) -> None:
        self.say(f"+{steps}")

    def say(self, message: str) -> None:
        self.said.append(message)
        if len(self.said) >= 3:
            self.three.set()


def test_silent_work_is_reported_again_and_again_until_it_ends() -> None:
    heard = Heard()
    with never_silent(heard, after_s=0.02) as outer, never_silent(outer, after_s=0.02) as progress:
        progress.say("building")
        assert heard.three.wait(PATIENCE_S)
    assert heard.said[0] == "building"
    assert {line.partition(" s: ")[2] for line in heard.said[1:]} == {"building"}
    assert all(line.startswith("still running, ") for line in heard.said[1:])
    assert not any(one.name == "progress" for one in threading.enumerate())


def test_work_that_reports_is_passed_on_unchanged() -> None:
    heard = Heard()
    with never_silent(heard, after_s=60) as progress:
        progress.start("comparing", 10)
        progress.advance(4)
        progress.say("done")
    assert heard.said == ["comparing: 10", "+4", "done"]


def test_a_report_that_fails_does_not_end_the_work() -> None:
    failing = threading.Event()

    class Broken(Heard):
        def say(self, message: str) -> None:
            if message.startswith("still"):
                failing.set()
                raise OSError("no space")
            super().say(message)

    heard = Broken()
    with never_silent(heard, after_s=0.01) as progress:
        assert failing.wait(PATIENCE_S)
        progress.say("on")
    assert heard.said == ["on"]
