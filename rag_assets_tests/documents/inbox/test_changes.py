"""Changes of the inbox: each case, and the properties behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_assets.documents.inbox.changes import InboxChanges, digest_of, find_changes, unread_hash
from rag_assets.documents.inbox.files import FoundFile, Listing
from rag_assets.documents.sql.intake import KnownFile

MOST = 1000
Contents = Mapping[str, str]


def content_hash(content: str) -> bytes:
    """As an inbox hashes."""
    return hashlib.sha256(content.encode()).digest()


def found(path: str, content: str, *, age_s: float = 100, when: str = "1") -> FoundFile:
    """A file with this content."""
    return FoundFile(path, len(content), when, age_s)


def listing(files: Contents, *, when: str = "1", unlisted: tuple[str, ...] = ()) -> Listing:
    """Files by path, all of them long settled."""
    return Listing(
        tuple(found(path, content, when=when) for path, content in sorted(files.items())), unlisted
    )


def known(
    number: int, content: str, *, when: str = "1", withdrawn_by: str | None = None
) -> KnownFile:
    """A document with this content."""
    state = "withdrawn" if withdrawn_by else "ready"
    key = f"key-{number}"
    return KnownFile(
        number, key, len(content), when, content_hash(content), state, withdrawn_by  # type: ignore[arg-type]
    )  # fmt: skip


def hashes(files: Contents) -> dict[str, bytes]:
    """All contents hashed."""
    return {path: content_hash(content) for path, content in files.items()}


def told(decision: InboxChanges) -> dict[str, list[str]]:
    """The non-empty parts of a decision."""
    said = {
        "added": [file.path for file in decision.added],
        "unhashed": [file.path for file in decision.unhashed],
        "settling": [file.path for file in decision.settling],
        "withdrawn": [document.key for document in decision.withdrawn],
        "gone": [document.key for document in decision.gone],
        "too_large": [document.key for document in decision.too_large],
    }
    for name in ("changed", "touched", "renamed", "restored"):
        pairs = getattr(decision, name)
        said[name] = [f"{document.key} at {file.path}" for file, document in pairs]
    return {name: words for name, words in said.items() if words}


CASES: dict[str, tuple[Contents, dict[str, KnownFile], dict[str, KnownFile], dict[str, list[str]]]]
CASES = {
    "nothing anywhere": ({}, {}, {}, {}),
    "as it was": ({"a": "x"}, {"a": known(1, "x")}, {}, {}),
    "new": ({"a": "x"}, {}, {}, {"added": ["a"]}),
    "another size": ({"a": "xy"}, {"a": known(1, "x")}, {}, {"changed": ["key-1 at a"]}),
    "another time, another content": (
        {"a": "y"}, {"a": known(1, "x", when="0")}, {}, {"changed": ["key-1 at a"]},
    ),
    "another time, the same content": (
        {"a": "x"}, {"a": known(1, "x", when="0")}, {}, {"touched": ["key-1 at a"]},
    ),
    "gone": ({"b": "x"}, {"a": known(1, "y"), "b": known(2, "x")}, {}, {"withdrawn": ["key-1"]}),
    "renamed": ({"b": "x"}, {"a": known(1, "x")}, {}, {"renamed": ["key-1 at b"]}),
    "renamed and changed is another document": (
        {"b": "xy"}, {"a": known(1, "x")}, {}, {"added": ["b"], "withdrawn": ["key-1"]},
    ),
    "a copy beside its original": (
        {"a": "x", "b": "x"}, {"a": known(1, "x")}, {}, {"added": ["b"]},
    ),
    "two equal files moved into a folder keep their names": (
        {"f/a": "x", "f/b": "x"},
        {"a": known(1, "x"), "b": known(2, "x")},
        {},
        {"renamed": ["key-1 at f/a", "key-2 at f/b"]},
    ),
    "two equal files of which one is gone and the other moved": (
        {"f/b": "x"},
        {"a": known(1, "x"), "b": known(2, "x")},
        {},
        {"renamed": ["key-2 at f/b"], "withdrawn": ["key-1"]},
    ),
    "two files exchanged their names": (
        {"a": "y", "b": "x"},
        {"a": known(1, "x", when="0"), "b": known(2, "y", when="0")},
        {},
        {"changed": ["key-1 at a", "key-2 at b"]},
    ),
    "back at its path": (
        {"a": "x"}, {}, {"a": known(1, "x", withdrawn_by="inbox")}, {"restored": ["key-1 at a"]},
    ),
    "back with another content": (
        {"a": "y"}, {}, {"a": known(1, "x", withdrawn_by="inbox")}, {"restored": ["key-1 at a"]},
    ),
    "back elsewhere": (
        {"b": "x"}, {}, {"a": known(1, "x", withdrawn_by="inbox")}, {"restored": ["key-1 at b"]},
    ),
    "a living document moved onto a withdrawn one's path": (
        {"a": "y"},
        {"b": known(2, "y")},
        {"a": known(1, "x", withdrawn_by="inbox")},
        {"renamed": ["key-2 at a"]},
    ),
    "withdrawn by command, its file as it was": (
        {"a": "x"}, {}, {"a": known(1, "x", withdrawn_by="command")}, {},
    ),
    "withdrawn by command, its file touched": (
        {"a": "x"},
        {},
        {"a": known(1, "x", when="0", withdrawn_by="command")},
        {"touched": ["key-1 at a"]},
    ),
    "withdrawn by command, its file changed": (
        {"a": "y"},
        {},
        {"a": known(1, "x", when="0", withdrawn_by="command")},
        {"restored": ["key-1 at a"]},
    ),
    "withdrawn by command, its file gone": (
        {"b": "y"},
        {"b": known(2, "y")},
        {"a": known(1, "x", withdrawn_by="command")},
        {"gone": ["key-1"]},
    ),
    "withdrawn by command, its file moved: it stays withdrawn": (
        {"b": "x"},
        {},
        {"a": known(1, "x", withdrawn_by="command")},
        {"renamed": ["key-1 at b"]},
    ),
    "a copy of one withdrawn by command is a document of its own": (
        {"a": "x", "b": "x"},
        {},
        {"a": known(1, "x", withdrawn_by="command")},
        {"added": ["b"]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_case_is_decided(case: str) -> None:
    files, documents, withdrawn, wanted = CASES[case]
    decision = find_changes(
        listing(files), documents, withdrawn, hashes(files), settle_s=5, max_bytes=MOST
    )
    assert told(decision) == wanted
    assert decision.nothing == (not wanted)


def test_only_new_and_changed_files_are_hashed() -> None:
    files = {"a": "x", "b": "y", "c": "z"}
    documents = {"a": known(1, "x"), "b": known(2, "y", when="0")}
    decision = find_changes(listing(files), documents, {}, {}, settle_s=5, max_bytes=MOST)
    assert told(decision) == {"unhashed": ["b", "c"]}
    assert decision.nothing


@pytest.mark.parametrize(("age_s", "taken"), [(-3.0, False), (4.9, False), (5.0, True)])
def test_a_file_is_accepted_once_it_has_settled(age_s: float, taken: bool) -> None:
    one = Listing((found("a", "x", age_s=age_s),))
    decision = find_changes(one, {}, {}, {"a": content_hash("x")}, settle_s=5, max_bytes=MOST)
    assert told(decision) == ({"added": ["a"]} if taken else {"settling": ["a"]})


def test_the_oldest_comes_first() -> None:
    files = tuple(found(path, path, age_s=age) for path, age in (("a", 10), ("b", 30), ("c", 10)))
    decision = find_changes(
        Listing(files), {}, {}, hashes({"a": "", "b": "", "c": ""}), settle_s=5, max_bytes=MOST
    )
    assert told(decision) == {"added": ["b", "a", "c"]}


@pytest.mark.parametrize("age_s", [1.0, 100.0])
def test_a_possibly_renamed_file_is_decided_before_a_withdrawal(age_s: float) -> None:
    """An unsettled or unhashed file of the same size is enough to wait."""
    moved = Listing((found("b", "xx", age_s=age_s),))
    documents = {"a": known(1, "xx"), "c": known(2, "xxx")}
    decision = find_changes(moved, documents, {}, {}, settle_s=5, max_bytes=MOST)
    assert told(decision)["withdrawn"] == ["key-2"]
    settled = Listing((found("b", "xx"),))
    after = find_changes(
        settled, {"a": documents["a"]}, {}, {"b": content_hash("xx")}, settle_s=5, max_bytes=MOST
    )
    assert told(after) == {"renamed": ["key-1 at b"]}


def test_documents_of_a_folder_that_cannot_be_listed_are_not_gone() -> None:
    documents = {"f/a": known(1, "x"), "f/g/b": known(2, "y"), "fa": known(3, "zz")}
    decision = find_changes(
        listing({"c": "c"}, unlisted=("f/",)), documents, {}, {}, settle_s=5, max_bytes=MOST
    )
    # Of another size than "c" or it would be waited for.
    assert told(decision) == {"unhashed": ["c"], "withdrawn": ["key-3"]}


def test_too_large_files_are_compared_by_size_and_time() -> None:
    large = FoundFile("a", MOST + 1, "1", 100)
    assert told(find_changes(Listing((large,)), {}, {}, {}, settle_s=5, max_bytes=MOST)) == {
        "added": ["a"]
    }
    before = replace(known(1, ""), bytes=MOST + 1, content_hash=unread_hash(MOST + 1, "1"))
    for state, most, wanted in (
        ("dead", MOST, {}),
        ("waiting", MOST, {"too_large": ["key-1"]}),  # a person has put it back: in vain
        ("dead", MOST + 1, {"unhashed": ["a"]}),  # the limit was raised
        ("waiting", MOST + 1, {"unhashed": ["a"]}),
    ):
        documents = {"a": replace(before, state=state)}
        decision = find_changes(Listing((large,)), documents, {}, {}, settle_s=5, max_bytes=most)
        assert told(decision) == wanted, (state, most)
        assert decision.nothing == (state == "dead" or most > MOST)
    other = replace(large, modified="2")
    decision = find_changes(Listing((other,)), {"a": before}, {}, {}, settle_s=5, max_bytes=MOST)
    assert told(decision) == {"changed": ["key-1 at a"]}


def test_a_digest_is_the_same_while_nothing_happens() -> None:
    first = listing({"a": "x", "b": "y"})
    younger = Listing(tuple(replace(file, age_s=0.5) for file in first.files))
    assert digest_of(first) == digest_of(younger)
    others = [
        listing({"a": "x"}),
        listing({"a": "x", "b": "yy"}),
        listing({"a": "x", "c": "y"}),
        listing({"a": "x", "b": "y"}, when="2"),
        listing({"a": "x", "b": "y"}, unlisted=("c/",)),
        Listing(()),
    ]
    assert len({digest_of(first), *map(digest_of, others)}) == 7


class Model:
    """A model of the documents in the database over a series of scans."""

    def __init__(self) -> None:
        self.documents: dict[int, tuple[str, KnownFile]] = {}

    def split(self) -> tuple[dict[str, KnownFile], dict[str, KnownFile]]:
        """Living and withdrawn documents by path."""
        living: dict[str, KnownFile] = {}
        withdrawn: dict[str, KnownFile] = {}
        # As the store gives them: of several withdrawn ones, that of a person.
        for path, document in sorted(
            self.documents.values(), key=lambda one: one[1].withdrawn_by == "command"
        ):
            (withdrawn if document.withdrawn_by else living)[path] = document
        return living, withdrawn

    def record(self, decision: InboxChanges, contents: Contents) -> None:
        """Record changes like the database."""
        for document in decision.withdrawn:
            path, _ = self.documents[document.document_id]
            self._put(path, replace(document, state="withdrawn", withdrawn_by="inbox"))
        for document in decision.gone:
            path, _ = self.documents[document.document_id]
            self._put(path, replace(document, withdrawn_by="inbox"))
        for file, document in (*decision.renamed, *decision.touched):
            self._put(file.path, replace(document, modified=file.modified))
        for file, document in (*decision.changed, *decision.restored):
            fresh = known(document.document_id, contents[file.path], when=file.modified)
            self._put(file.path, fresh)
        for file in decision.added:
            number = len(self.documents) + 1
            self._put(file.path, known(number, contents[file.path], when=file.modified))

    def withdraw(self, number: int) -> None:
        """By command."""
        path, document = self.documents[number]
        if not document.withdrawn_by:
            self._put(path, replace(document, state="withdrawn", withdrawn_by="command"))

    def _put(self, path: str, document: KnownFile) -> None:
        self.documents[document.document_id] = (path, document)


PATHS = st.sampled_from(["a", "b", "f/a", "f/b"])
INBOXES = st.lists(
    st.tuples(
        st.dictionaries(PATHS, st.sampled_from(["", "x", "y", "xx"])),
        st.sets(st.integers(1, 4), max_size=1),
    ),
    min_size=1,
    max_size=6,
)


@given(INBOXES)
@example(
    # A file takes the name of one that a person took out, and is taken out, too.
    [
        ({"a": "", "b": "", "f/a": "", "f/b": "x"}, set()),
        ({"b": "x"}, {2}),
        ({"f/b": "x"}, {4}),
    ]
)
def test_after_each_scan_every_file_is_one_document_and_another_scan_finds_nothing(
    looks: list[tuple[dict[str, str], set[int]]],
) -> None:
    model = Model()
    before: set[int] = set()
    for turn, (contents, by_command) in enumerate(looks):
        for number in by_command & model.documents.keys():
            model.withdraw(number)
        files = listing(contents, when=str(turn))
        living, withdrawn = model.split()
        first = find_changes(files, living, withdrawn, {}, settle_s=5, max_bytes=MOST)
        known_hashes = hashes({file.path: contents[file.path] for file in first.unhashed})
        decision = find_changes(files, living, withdrawn, known_hashes, settle_s=5, max_bytes=MOST)
        model.record(decision, contents)
        living, withdrawn = model.split()

        told_apart = [path for path, it in model.documents.values() if not it.withdrawn_by]
        assert len(told_apart) == len(set(told_apart))  # no path belongs to two
        assert living.keys() <= contents.keys()  # what is gone is out of search
        for path, document in living.items():
            assert document.content_hash == content_hash(contents[path])
        for path in contents.keys() - living.keys():  # what is there is in, but for what ...
            assert withdrawn[path].withdrawn_by == "command"  # ... a person took out
            assert withdrawn[path].content_hash == content_hash(contents[path])
        assert before <= model.documents.keys()  # none is lost
        before = set(model.documents)
        again = find_changes(files, living, withdrawn, {}, settle_s=5, max_bytes=MOST)
        assert told(again) == {}
