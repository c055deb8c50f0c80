"""A document that exhausts resources ends its child process, and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rag_assets.documents.sandbox import Extractor
from rag_assets.errors import (
    CorruptDocumentError,
    DocumentTooLargeError,
    EmptyDocumentError,
    ExtractionInterruptedError,
    InboxUnavailableError,
)
from rag_assets_tests.documents.formats import office
from rag_assets_tests.documents.formats.conftest import LIMITS, extract, limits

ROOT = Path(__file__).parents[3]


@pytest.fixture
def extractor() -> Iterator[Extractor]:
    with Extractor(LIMITS) as one:
        yield one


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.md"
    path.write_text("# Small\n\nA document that is read at once.\n", encoding="utf-8")
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Path]:
    """A file that never ends: a pipe that is never closed."""
    path = tmp_path / "endless.md"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    yield path
    os.close(descriptor)


def extract_endless(extractor: Extractor, pipe: Path) -> None:
    with pipe.open("rb", buffering=0) as file:
        extractor.extract(file, "a.md", bytes(32))


def child_of(extractor: Extractor) -> psutil.Process:
    assert extractor.pid is not None
    return psutil.Process(extractor.pid)


def test_one_child_reads_many_documents(extractor: Extractor, small: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.md"
    empty.touch()
    assert extractor.pid is None
    first = extract(extractor, small, "a.md")
    child = extractor.pid
    with pytest.raises(EmptyDocumentError, match=r"^b\.md: there is nothing in it"):
        extract(extractor, empty, "b.md")
    again = extract(extractor, small, "c.md")
    assert extractor.pid == child
    assert first.chunks == again.chunks
    assert first.title == "Small"
    assert first.seconds.keys() == {"extract", "chunk"}


def test_extraction_gives_the_same_with_and_without_a_child(
    extractor: Extractor, tmp_path: Path
) -> None:
    from rag_assets.documents.formats.extract import read_document

    content = office.docx([(1, "Água"), (0, "Texto\u2028com \u00a0 sinais: “aspas”, \U0001f389")])
    path = tmp_path / "á b.docx"
    path.write_bytes(content)
    inside, outside = (
        extract(extractor, path, "á b.docx"),
        read_document(content, "á b.docx", LIMITS),
    )
    assert inside.chunks == outside.chunks
    assert (inside.title, inside.characters) == (outside.title, outside.characters)


def read_until_judged(extractor: Extractor, path: Path) -> None:
    """Retry while other work on the machine starves the child."""
    while True:
        with contextlib.suppress(ExtractionInterruptedError):
            extract(extractor, path, path.name)


def test_a_document_that_takes_too_long_is_too_large_and_names_the_setting(
    tmp_path: Path, small: Path
) -> None:
    slow = tmp_path / "slow.html"
    slow.write_bytes(b"<html>" + b"<!--" * 400_000)  # the parser looks for each one's end: hours
    with Extractor(limits(seconds=1)) as extractor:
        with pytest.raises(
            DocumentTooLargeError, match=r"^slow\.html: .*more than 1 s.*RAG_DOCUMENT_TIMEOUT_S"
        ):
            read_until_judged(extractor, slow)
        assert extractor.pid is None
        assert extract(extractor, small, "small.md").title == "Small"


def test_a_document_whose_file_is_slow_is_retried(endless: Path, small: Path) -> None:
    with Extractor(limits(seconds=0.5)) as extractor:
        with pytest.raises(ExtractionInterruptedError, match=r"^a\.md: .*given up after 0\.5 s"):
            extract_endless(extractor, endless)
        assert extractor.pid is None


def test_a_document_that_takes_too_much_memory_is_too_large_and_names_the_setting(
    tmp_path: Path, small: Path
) -> None:
    bomb = tmp_path / "bomb.txt"
    bomb.write_text("one short line\n\n" * 1_500_000, encoding="utf-8")
    with Extractor(limits(memory_bytes=128 << 20)) as extractor:
        with pytest.raises(
            DocumentTooLargeError, match=r"^bomb\.txt: .*128 MB of memory.*RAG_DOCUMENT_MEMORY_MB"
        ):
            extract(extractor, bomb, "bomb.txt")
        assert extract(extractor, small, "small.md").title == "Small"


EXPANDED = 300 << 20  # bytes, of 1 MB packed


def _deep_odt() -> bytes:
    content = office.odt([(0, "MARK")])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members: dict[str, str | bytes] = {name: archive.read(name) for name in archive.namelist()}
    deep = b"<text:list><text:list-item>" * 200_000
    members["content.xml"] = bytes(members["content.xml"]).replace(b"<text:p>MARK", deep)
    return office.zipped(members, stored_first=True)


BOMBS: dict[str, tuple[str, Callable[[], bytes], Any]] = {
    "a ZIP that expands": (
        "bomb.docx",
        lambda: office.zipped({"word/document.xml": bytes(EXPANDED)}, level=1),
        DocumentTooLargeError,
    ),
    "a ZIP that lies about it": (
        "liar.docx",
        lambda: lying(office.zipped({"word/document.xml": bytes(EXPANDED)}, level=1)),
        (DocumentTooLargeError, CorruptDocumentError, EmptyDocumentError),
    ),
    "entities of entities": (
        "laughs.docx",
        lambda: office.zipped({"word/document.xml": laughs()}),
        (DocumentTooLargeError, CorruptDocumentError, EmptyDocumentError),
    ),
    "lists in lists": (
        "deep.odt",
        _deep_odt,
        (DocumentTooLargeError, CorruptDocumentError, EmptyDocumentError),
    ),
    "tags in tags": (
        "deep.docx",
        lambda: office.zipped({"word/document.xml": "<w:p>" * 300_000 + "x" + "</w:p>" * 300_000}),
        (DocumentTooLargeError, CorruptDocumentError, EmptyDocumentError),
    ),
}


def lying(content: bytes) -> bytes:
    """The archive with false sizes of ten bytes in its directory."""
    size = EXPANDED.to_bytes(4, "little")
    return content.replace(size, (10).to_bytes(4, "little"))


def test_a_book_nested_without_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep.epub"
    path.write_bytes(office.epub([("Chapter", "<div>" * 100_000 + "deep")], "Deep", raw=True))
    with Extractor(limits(seconds=30)) as extractor:
        assert extract(extractor, path).chunks[0].text == "Chapter\n\ndeep"


def laughs() -> str:
    entities = "".join(f"<!ENTITY l{level} '{f'&l{level - 1};' * 10}'>" for level in range(1, 12))
    return (
        f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY l0 'lol'>{entities}]>"
        "<w:document><w:body><w:p><w:r><w:t>&l11;</w:t></w:r></w:p></w:body></w:document>"
    )


@pytest.mark.parametrize("what", BOMBS)
def test_a_decompression_bomb_ends_only_its_child(what: str, tmp_path: Path, small: Path) -> None:
    name, make, kinds = BOMBS[what]
    path = tmp_path / name
    path.write_bytes(make())
    with Extractor(limits(seconds=30)) as extractor:
        with pytest.raises(kinds, match=name):
            extract(extractor, path, name)
        assert extract(extractor, small, "small.md").title == "Small"


def test_a_child_killed_while_reading_interrupts_only_its_document(
    extractor: Extractor, endless: Path, small: Path
) -> None:
    extract(extractor, small, "small.md")
    child = child_of(extractor)
    before = child.cpu_times().user
    killer = threading.Thread(target=kill_when_reading, args=(child, endless))
    killer.start()
    with pytest.raises(
        ExtractionInterruptedError, match=r"^a\.md: the process that read it was ended"
    ):
        extract_endless(extractor, endless)
    killer.join()
    assert before >= 0
    assert extract(extractor, small, "small.md").title == "Small"


def kill_when_reading(child: psutil.Process, path: Path) -> None:
    """Kill the child as soon as it has the file open."""
    while not is_reading(child, path):
        os.sched_yield()
    child.send_signal(signal.SIGKILL)


def is_reading(child: psutil.Process, path: Path) -> bool:
    links = Path(f"/proc/{child.pid}/fd").iterdir()
    return any(os.path.realpath(link) == str(path) for link in links)


def test_a_child_that_is_killed_between_two_documents_is_replaced(
    extractor: Extractor, small: Path
) -> None:
    extract(extractor, small, "small.md")
    child = child_of(extractor)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert extract(extractor, small, "small.md").title == "Small"
    assert extractor.pid != child.pid


def test_a_parent_with_much_memory_does_not_make_the_document_too_large(
    endless: Path, small: Path
) -> None:
    ballast = b"x" * (256 << 20)
    with Extractor(limits(memory_bytes=200 << 20)) as extractor:
        extract(extractor, small, "small.md")
        child = child_of(extractor)
        killing = threading.Thread(target=kill_when_reading, args=(child, endless))
        killing.start()
        with pytest.raises(ExtractionInterruptedError):
            extract_endless(extractor, endless)
        killing.join()
    assert len(ballast) == 256 << 20


def test_an_extraction_can_be_cancelled_from_another_thread(
    extractor: Extractor, endless: Path, small: Path
) -> None:
    extract(extractor, small, "small.md")
    child = child_of(extractor)

    def cancel() -> None:
        while not is_reading(child, endless):
            os.sched_yield()
        extractor.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(ExtractionInterruptedError):
        extract_endless(extractor, endless)
    canceller.join()
    extractor.cancel()  # nothing under way: nothing to end
    assert extract(extractor, small, "small.md").title == "Small"


def test_closing_ends_what_another_thread_reads(endless: Path, small: Path) -> None:
    extractor = Extractor(LIMITS)
    extract(extractor, small, "small.md")
    child = child_of(extractor)

    def close() -> None:
        while not is_reading(child, endless):
            os.sched_yield()
        extractor.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(ExtractionInterruptedError):
        extract_endless(extractor, endless)
    closer.join()
    assert not psutil.pid_exists(child.pid)
    with pytest.raises(ExtractionInterruptedError, match="has been closed"):
        extract(extractor, small, "small.md")
    assert extractor.pid is None


def test_an_unreadable_file_is_a_transient_error(extractor: Extractor, small: Path) -> None:
    with (
        small.open("ab") as not_readable,
        pytest.raises(ExtractionInterruptedError, match=r"small\.md: cannot be read now"),
    ):
        extractor.extract(not_readable, "small.md", bytes(32))


def test_a_file_that_has_changed_is_not_read(extractor: Extractor, small: Path) -> None:
    before = hashlib.sha256(small.read_bytes()).digest()
    with small.open("rb") as file:
        small.write_text("# Other\n\nText that nobody has hashed.\n", encoding="utf-8")
        with pytest.raises(InboxUnavailableError, match=r"^small\.md has changed since"):
            extractor.extract(file, "small.md", before)
    assert extract(extractor, small).title == "Other"


def test_the_child_ends_with_the_extractor(small: Path) -> None:
    with Extractor(LIMITS) as extractor:
        extract(extractor, small, "small.md")
        child = extractor.pid
    assert child is not None
    assert not psutil.pid_exists(child)


PARENT = """
import hashlib, sys
from pathlib import Path
from rag_assets.documents.model import ExtractionLimits
from rag_assets.documents.sandbox import Extractor

extractor = Extractor(ExtractionLimits(60, 512 << 20, 1024, 64, 1000, False))
small = Path(sys.argv[1])
with small.open("rb") as file:
    extractor.extract(file, "small.md", hashlib.sha256(small.read_bytes()).digest())
print(extractor.pid, flush=True)
with Path(sys.argv[2]).open("rb", buffering=0) as file:
    extractor.extract(file, "endless.md", bytes(32))
"""


def test_the_child_ends_when_its_parent_is_killed(small: Path, endless: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(small), str(endless)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        while not is_reading(child, endless):
            os.sched_yield()
        parent.kill()
        parent.wait()
        child.wait(timeout=20)
    assert not child.is_running()


def test_the_child_has_no_secrets_in_its_environment(
    extractor: Extractor, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hidden-word")
    extract(extractor, small, "small.md")
    assert "hidden-word" not in str(child_of(extractor).environ())
