"""From the inbox into the queue, on a real folder and a real database."""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from pathlib import Path

import fsspec
import pytest

from rag_assets.documents.inbox.changes import Cursor
from rag_assets.documents.inbox.intake import FULL_SCAN_S, Intake, take_files, take_in
from rag_assets.documents.sql.documents import Document, find_document, retry
from rag_assets.documents.sql.withdrawal import withdraw
from rag_assets.errors import InboxUnavailableError
from rag_assets.lanes import HIGH, LARGE, LOW, NORMAL, PROCESSING
from rag_assets.postgres.database import Database
from rag_assets.settings.documents import MB
from rag_assets.settings.model import Settings
from rag_assets_tests.conftest import SHARED_DATA, MakeSettings
from rag_assets_tests.documents.dropped import Dropped

SHARED = SHARED_DATA / "documents"


@pytest.fixture
def dropped(database: Database, make_settings: MakeSettings, tmp_path: Path) -> Dropped:
    """An empty inbox without settling time."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return Dropped(folder, database, settings_of(make_settings, folder))


def settings_of(make_settings: MakeSettings, folder: Path, **more: object) -> Settings:
    """Settings of an inbox without settling time."""
    return make_settings(rag_documents_url=str(folder), rag_documents_settle_s=0, **more)


def set_state(database: Database, key: str, state: str) -> None:
    """Set the state that a run would leave."""
    with database.connect() as connection:
        connection.execute(
            """
            UPDATE documents SET state = %(state)s, run_id = 'a run', attempts = 1,
                   stored_hash = content_hash,
                   lease_until = CASE %(state)s WHEN 'running' THEN now() + interval '1 h' END
             WHERE document_key = %(key)s
            """,
            {"state": state, "key": key},
        )


def only(dropped: Dropped) -> Document:
    """The only document."""
    (document,) = dropped.documents()
    return document


def test_dropped_files_wait_in_their_lanes_oldest_first(dropped: Dropped) -> None:
    os.utime(dropped.drop("b.md", "bb"), (1, 1))
    dropped.drop("sub/ä (1).pdf", "aaa")
    intake = dropped.scan()
    assert (intake.added, intake.changed) == (2, True)
    assert str(intake) == "2 new"
    one, two = dropped.documents()
    assert (one.path, two.path) == ("b.md", "sub/ä (1).pdf")
    assert {one.key, two.key} == set(intake.new_keys)
    assert (one.bytes, one.state, one.attempts, one.lane) == (2, "waiting", 0, PROCESSING)
    with dropped.inbox.fetch(two.path) as file:
        assert file.read() == b"aaa"
    assert dropped.inbox.content_hash(two.path) == two.content_hash


def test_a_scan_without_changes_does_not_query_the_database(
    dropped: Dropped,
) -> None:
    dropped.drop("a.md", "a")
    first = dropped.scan()
    assert first.cursor
    nobody = Database("host=/nowhere dbname=none connect_timeout=1")
    again = take_in(nobody, dropped.inbox, dropped.settings, cursor=first.cursor)
    assert again == Intake(first.cursor)
    assert str(again) == "nothing new in the inbox"
    dropped.drop("b.md", "b")
    assert dropped.scan(cursor=first.cursor).added == 1


def test_occasionally_a_scan_queries_the_database_anyway(dropped: Dropped) -> None:
    """A file added and removed between two scans has left a document behind."""
    dropped.drop("a.md", "a")
    first = dropped.scan()
    brief = dropped.drop("brief.md", "brief")
    with dropped.database.connect() as connection:
        take_files(connection, dropped.inbox, dropped.settings, ["brief.md"])
    brief.unlink()
    assert dropped.scan(cursor=first.cursor).changed is False
    assert dropped.states() == {"a.md": "waiting", "brief.md": "waiting"}
    later = Cursor.read(first.cursor).at + FULL_SCAN_S
    assert str(dropped.scan(cursor=first.cursor, now=later)) == "1 withdrawn"


def test_a_changed_file_is_processed_again_and_a_touched_one_is_not(dropped: Dropped) -> None:
    file = dropped.drop("a.md", "one")
    dropped.scan()
    key = only(dropped).key
    set_state(dropped.database, key, "ready")
    os.utime(file, (5, 5))
    touched = dropped.scan()
    assert (touched.changed, only(dropped).state) == (False, "ready")
    assert dropped.scan(cursor=touched.cursor).cursor == touched.cursor
    dropped.drop("a.md", "two")
    assert str(dropped.scan()) == "1 changed"
    document = only(dropped)
    assert (document.key, document.state, document.attempts) == (key, "waiting", 0)
    assert document.content_hash != document.stored_hash


def test_a_document_that_changes_during_processing_is_requeued_and_its_run_loses_the_lease(
    dropped: Dropped,
) -> None:
    dropped.drop("a.md", "one")
    dropped.scan()
    set_state(dropped.database, only(dropped).key, "running")
    dropped.drop("a.md", "another")
    dropped.scan()
    document = only(dropped)
    assert (document.state, document.lease_until, document.run_id) == ("waiting", None, None)


@pytest.mark.parametrize("state", ["waiting", "running", "ready", "dead"])
def test_a_renamed_file_keeps_its_document_as_it_is(dropped: Dropped, state: str) -> None:
    file = dropped.drop("a.md", "one")
    dropped.scan()
    before = only(dropped)
    if state == "dead":
        with dropped.database.connect() as connection:
            connection.execute("UPDATE documents SET state = 'dead', error_class = 'NoTextError'")
    else:
        set_state(dropped.database, before.key, state)
    (dropped.folder / "new").mkdir()
    file.rename(dropped.folder / "new" / "b.md")
    assert str(dropped.scan()) == "1 renamed"
    after = only(dropped)
    assert (after.key, after.path, after.state) == (before.key, "new/b.md", state)
    assert dropped.scan().changed is False


def test_swapped_and_shifted_names_are_renames(dropped: Dropped) -> None:
    for name in ("a", "b", "c"):
        dropped.drop(f"{name}.md", f"text {name}")
    dropped.scan()
    (dropped.folder / "a.md").rename(dropped.folder / "x")
    (dropped.folder / "b.md").rename(dropped.folder / "a.md")
    (dropped.folder / "x").rename(dropped.folder / "b.md")
    (dropped.folder / "c.md").rename(dropped.folder / "d.md")
    intake = dropped.scan()
    assert (intake.updated, intake.renamed, intake.added, intake.withdrawn) == (2, 1, 0, 0)
    for document in dropped.documents():
        assert document.content_hash == dropped.inbox.content_hash(document.path)


def test_a_copy_is_a_document_of_its_own(dropped: Dropped) -> None:
    dropped.drop("a.md", "same")
    dropped.drop("b/a.md", "same")
    dropped.scan()
    one, two = dropped.documents()
    assert one.key != two.key
    assert one.content_hash == two.content_hash


def test_a_removed_file_is_withdrawn_and_its_return_restores_the_document(
    dropped: Dropped,
) -> None:
    dropped.drop("a.md", "a")
    dropped.drop("b.md", "b")
    dropped.scan()
    key = dropped.documents()[0].key
    (dropped.folder / "a.md").rename(dropped.folder.parent / "kept")
    intake = dropped.scan()
    assert str(intake) == "1 withdrawn"
    assert dropped.states() == {"a.md": "withdrawn", "b.md": "waiting"}
    (dropped.folder.parent / "kept").rename(dropped.folder / "c.md")
    back = dropped.scan()
    assert (str(back), back.new_keys) == ("1 back", (key,))
    assert dropped.states() == {"c.md": "waiting", "b.md": "waiting"}
    assert len(dropped.documents()) == 2


def test_documents_withdrawn_by_command_stay_withdrawn_until_dropped_again(
    dropped: Dropped,
) -> None:
    dropped.drop("a.md", "a")
    dropped.drop("b.md", "b")
    dropped.scan()
    key = dropped.documents()[0].key
    with dropped.database.connect() as connection:
        assert withdraw(connection, [key], by="command") == (key,)
    assert dropped.scan().changed is False
    os.utime(dropped.folder / "a.md", (7, 7))
    assert dropped.scan().changed is False
    assert dropped.states() == {"a.md": "withdrawn", "b.md": "waiting"}
    (dropped.folder / "a.md").unlink()
    dropped.scan()
    dropped.drop("a.md", "a")
    assert str(dropped.scan()) == "1 back"
    assert dropped.states() == {"a.md": "waiting", "b.md": "waiting"}
    assert len(dropped.documents()) == 2


def test_a_suddenly_empty_inbox_withdraws_nothing_without_force(dropped: Dropped) -> None:
    for name in ("a.md", "b.md"):
        dropped.drop(name, name)
    dropped.scan()
    away = dropped.folder.rename(dropped.folder.parent / "not mounted")
    with pytest.raises(InboxUnavailableError, match="2 documents are known: is it mounted"):
        dropped.scan()
    dropped.folder.mkdir()
    with pytest.raises(InboxUnavailableError, match="scan --force"):
        dropped.scan()
    assert set(dropped.states().values()) == {"waiting"}
    dropped.folder.rmdir()
    away.rename(dropped.folder)
    assert dropped.scan().changed is False
    for file in dropped.folder.iterdir():
        file.unlink()
    assert dropped.scan(force=True).withdrawn == 2
    assert set(dropped.states().values()) == {"withdrawn"}
    assert dropped.scan().changed is False  # nothing is known any more: empty is right


def test_a_file_in_the_folders_place_withdraws_nothing(dropped: Dropped) -> None:
    dropped.drop("a.md", "a")
    dropped.scan()
    dropped.folder.rename(dropped.folder.parent / "elsewhere")
    dropped.folder.write_text("a file, no folder")
    with pytest.raises(InboxUnavailableError, match="cannot be listed"):
        dropped.scan()
    assert only(dropped).state == "waiting"


def test_a_file_is_ignored_until_it_has_settled(
    dropped: Dropped, make_settings: MakeSettings
) -> None:
    dropped.drop("a.md", "half")
    patient = settings_of(make_settings, dropped.folder).model_copy(
        update={"rag_documents_settle_s": 3600}
    )
    intake = take_in(dropped.database, dropped.inbox, patient)
    assert (intake.added, intake.waiting, Cursor.read(intake.cursor).digest) == (0, 1, "")
    assert dropped.documents() == []
    assert dropped.scan().added == 1


def test_a_scan_has_a_limit_and_leaves_the_rest_to_the_next(
    dropped: Dropped, make_settings: MakeSettings
) -> None:
    for number in range(7):
        os.utime(dropped.drop(f"{number}.md", str(number)), (number, number))
    few = Dropped(
        dropped.folder,
        dropped.database,
        settings_of(make_settings, dropped.folder, rag_documents_per_tick=3),
    )
    looks = [few.scan() for _ in range(4)]
    assert [intake.added for intake in looks] == [3, 3, 1, 0]
    done = [bool(Cursor.read(intake.cursor).digest) for intake in looks]
    assert done == [False, False, True, True]
    assert len(set(few.states())) == 7


def test_a_scan_that_runs_out_of_time_continues_next_time(dropped: Dropped) -> None:
    for number in range(3):
        dropped.drop(f"{number}.md", str(number))
    assert [dropped.scan(patience_s=-1).added for _ in range(4)] == [1, 1, 1, 0]


def test_size_decides_lane_and_priority_and_too_large_files_are_dead_letters(
    dropped: Dropped, make_settings: MakeSettings
) -> None:
    sizes = {"small": 1, "normal": 6 * MB, "large": 12 * MB, "low": 21 * MB, "huge": 31 * MB}
    for name, size in sizes.items():
        with dropped.drop(f"{name}.md", name).open("ab") as file:
            file.truncate(size)
    few = Dropped(
        dropped.folder,
        dropped.database,
        settings_of(make_settings, dropped.folder, rag_documents_max_mb=30),
    )
    assert few.scan().added == 5
    found = {document.path[:-3]: document for document in few.documents()}
    shown = {name: (document.lane, document.priority) for name, document in found.items()}
    assert shown == {
        "small": (PROCESSING, HIGH), "normal": (PROCESSING, NORMAL), "large": (LARGE, NORMAL),
        "low": (LARGE, LOW), "huge": (LARGE, LOW),
    }  # fmt: skip
    assert (found["huge"].state, found["huge"].error_class) == ("dead", "DocumentTooLargeError")
    assert "RAG_DOCUMENTS_MAX_MB" in (found["huge"].error or "")
    assert few.scan().changed is False
    with few.database.connect() as connection:
        assert retry(connection, keys=[found["huge"].key]) == 1
    few.scan()  # it still is too large
    assert few.states()["huge.md"] == "dead"
    assert dropped.scan().updated == 1  # with the limit of 200 MB
    huge = next(document for document in dropped.documents() if document.path == "huge.md")
    assert (huge.state, huge.content_hash) == ("waiting", dropped.inbox.content_hash("huge.md"))
    (few.folder / "huge.md").write_text("cut down")
    few.scan()
    assert few.states()["huge.md"] == "waiting"


def test_links_and_special_files_are_reported_and_the_others_taken(dropped: Dropped) -> None:
    dropped.drop("a.md", "a")
    (dropped.folder / "link.md").symlink_to("/etc/passwd")
    intake = dropped.scan()
    assert intake.added == 1
    assert intake.remarks == (
        "link.md: is a link, which is not followed: put the file itself there",
    )
    assert intake.cursor


def test_paths_that_make_the_same_key_get_keys_of_their_own(dropped: Dropped) -> None:
    names = ["a b.md", "a-b.md", "a_b.md", "a/b.md", "A B.md", "ä b.md", "a  b.md"]
    for name in names:
        dropped.drop(name, name)
    dropped.scan()
    assert len({document.key for document in dropped.documents()}) == len(names)


def test_concurrent_scans_add_each_document_once(dropped: Dropped) -> None:
    for number in range(40):
        dropped.drop(f"{number}.md", str(number))
    gate = threading.Barrier(4)
    intakes: list[Intake] = []

    def scan() -> None:
        gate.wait()
        intakes.append(dropped.scan())

    threads = [threading.Thread(target=scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(intake.added for intake in intakes) == 40
    assert len(dropped.documents()) == 40


def test_added_files_are_recorded_without_a_full_scan(dropped: Dropped) -> None:
    dropped.drop("a.md", "a")
    dropped.drop("b.md", "b")
    dropped.scan()
    (dropped.folder / "a.md").unlink()
    dropped.drop("c.md", "c")
    dropped.drop("b.md", "changed")
    with dropped.database.connect() as connection:
        intake = take_files(
            connection, dropped.inbox, dropped.settings, ["b.md", "c.md", "none.md"]
        )
    assert (intake.added, intake.updated, intake.withdrawn) == (1, 1, 0)
    assert set(dropped.states()) == {"a.md", "b.md", "c.md"}
    assert dropped.states()["a.md"] == "waiting"


def test_any_number_of_added_files_is_recorded(
    dropped: Dropped, make_settings: MakeSettings
) -> None:
    paths = [dropped.drop(f"{number}.md", str(number)).name for number in range(5)]
    few = settings_of(make_settings, dropped.folder, rag_documents_per_tick=2)
    with dropped.database.connect() as connection:
        assert take_files(connection, dropped.inbox, few, paths).added == 5


def test_the_next_scan_reports_documents_added_by_hand(dropped: Dropped) -> None:
    """Each needs a partition, whoever added it."""
    dropped.drop("a.md", "a")
    first = dropped.scan()
    dropped.drop("b.md", "b")
    dropped.drop("c.md", "c")
    with dropped.database.connect() as connection:
        take_files(connection, dropped.inbox, dropped.settings, ["b.md"])
    second = dropped.scan(cursor=first.cursor)
    assert (second.added, set(second.new_keys)) == (1, {"b.md", "c.md"})
    assert str(second) == "1 new, 1 added between scans"
    with dropped.database.connect() as connection:
        dropped.drop("d.md", "d")
        take_files(connection, dropped.inbox, dropped.settings, ["d.md"])
    third = dropped.scan(cursor=second.cursor)
    assert (third.added, third.changed, third.new_keys) == (0, True, ("d.md",))
    fourth = dropped.scan(cursor=third.cursor)
    assert (fourth.changed, fourth.new_keys, fourth.cursor) == (False, (), third.cursor)
    assert set(dropped.scan(cursor="of another kind").new_keys) == {"a.md", "b.md", "c.md", "d.md"}


def test_a_withdrawn_document_that_is_added_again_is_restored(dropped: Dropped) -> None:
    dropped.drop("a.md", "a")
    dropped.scan()
    key = only(dropped).key
    with dropped.database.connect() as connection:
        withdraw(connection, [key], by="command")
        intake = take_files(connection, dropped.inbox, dropped.settings, ["a.md"])
        found = find_document(connection, key)
    assert (intake.restored, intake.new_keys) == (1, (key,))
    assert found is not None
    assert found.state == "waiting"


def test_an_inbox_elsewhere_is_taken_in_like_a_folder(
    database: Database, make_settings: MakeSettings
) -> None:
    memory = fsspec.filesystem("memory")
    name = f"inbox-{uuid.uuid4().hex}"
    settings = make_settings(rag_documents_url=f"memory://{name}", rag_documents_settle_s=0)
    elsewhere = Dropped(Path(name), database, settings)
    memory.pipe_file(f"/{name}/a.md", b"one")
    memory.pipe_file(f"/{name}/sub/b.md", b"two")
    first = elsewhere.scan()
    assert first.added == 2
    assert elsewhere.scan(cursor=first.cursor).changed is False
    memory.mv(f"/{name}/a.md", f"/{name}/c.md")
    memory.pipe_file(f"/{name}/sub/b.md", b"three")
    assert str(elsewhere.scan()) == "1 changed, 1 renamed"
    memory.rm(f"/{name}", recursive=True)
    with pytest.raises(InboxUnavailableError, match="memory://"):
        elsewhere.scan()
    assert set(elsewhere.states().values()) == {"waiting"}


@pytest.mark.skipif(not SHARED.exists(), reason="the shared documents are not on this machine")
def test_real_documents_of_every_kind_are_taken_in(dropped: Dropped) -> None:
    shutil.copytree(SHARED, dropped.folder, dirs_exist_ok=True)
    files = [path for path in dropped.folder.rglob("*") if path.is_file()]
    assert dropped.scan().added == len(files)
    found = {document.path: document for document in dropped.documents()}
    assert found.keys() == {path.relative_to(dropped.folder).as_posix() for path in files}
    assert len({document.key for document in found.values()}) == len(files)
    (large,) = (document for document in found.values() if document.lane == LARGE)
    assert (large.path, large.priority) == ("large/ten-novels.md", LOW)
    copies = {
        "duplicates/five-whys-copy.md": "markdown/18f-five-whys.md",
        "duplicates/ssh-anotações.txt": "markdown/tldr-ssh.md",
        "bad/html-named.pdf": "html/usds-playbook-index.html",
    }
    for copy, original in copies.items():
        assert found[copy].content_hash == found[original].content_hash
