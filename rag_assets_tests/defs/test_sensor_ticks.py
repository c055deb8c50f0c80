"""Real ticks of the sensor over real folders, applied as by the daemon."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field

import dagster as dg
import pytest

from rag_assets.defs.bible.partitions import BIBLE_VERSIONS
from rag_assets.defs.bible.sensors import bible_version_folders
from rag_assets.documents.sql.lanes import pause_lane, resume_lane
from rag_assets_tests.corpora import sentences, write_usfm_version
from rag_assets_tests.defs.conftest import Lane, MakeLane, Run

EMBED, LOAD = "bible_embeddings", "bible_verses"


@dataclass
class Daemon:
    """Ticks, adds the requested partitions, and runs each key once."""

    lane: Lane
    spent: set[str] = field(default_factory=set)

    def tick(self) -> Tick:
        """Evaluate and apply a tick."""
        context = dg.build_sensor_context(
            instance=self.lane.instance,
            resources={"corpus": self.lane.corpus},
        )
        answer = bible_version_folders(context)
        if isinstance(answer, dg.SkipReason):
            return Tick([], {}, answer.skip_message or "")
        assert isinstance(answer, dg.SensorResult)
        added = [
            key
            for request in answer.dynamic_partitions_requests or []
            for key in request.partition_keys
        ]
        if added:
            self.lane.instance.add_dynamic_partitions(BIBLE_VERSIONS, added)
        runs = {}
        for request in answer.run_requests or []:
            assert request.run_key is not None
            assert request.job_name is not None
            assert request.partition_key is not None
            if request.run_key not in self.spent:
                self.spent.add(request.run_key)
                run = self.lane.run(request.partition_key, job=request.job_name)
                runs[request.partition_key] = (request.job_name, run)
        return Tick(added, runs, "")


@dataclass(frozen=True)
class Tick:
    """Result of a tick."""

    added: list[str]
    runs: dict[str, tuple[str, Run]]
    skipped: str

    @property
    def jobs(self) -> dict[str, str]:
        """By version, the job that ran."""
        return {code: job for code, (job, _) in self.runs.items()}

    @property
    def nothing(self) -> bool:
        return not self.added and not self.runs


@pytest.fixture
def daemon(make_lane: MakeLane) -> Daemon:
    """A daemon over folders EN_ONE and EN_TWO, both loaded."""
    lane = make_lane(rag_embedding_small_dimensions=4, rag_embedding_large_dimensions=6)
    for code in ("EN_ONE", "EN_TWO"):
        lane.drop(code, sentences(3, word=code))
        assert lane.run(code, job=LOAD).success
    return Daemon(lane)


def test_a_new_folder_becomes_a_partition_and_is_embedded(daemon: Daemon) -> None:
    write_usfm_version(daemon.lane.bibles_dir, "PT_NEW", sentences(2, word="rio"))
    tick = daemon.tick()
    assert (tick.added, tick.jobs) == (["PT_NEW"], {"PT_NEW": EMBED})
    assert tick.runs["PT_NEW"][1].success
    assert daemon.lane.count("SELECT count(*) FROM verse_embeddings") == 2
    assert sorted(daemon.lane.instance.get_dynamic_partitions(BIBLE_VERSIONS)) == [
        "EN_ONE",
        "EN_TWO",
        "PT_NEW",
    ]


def test_a_pipe_or_a_link_in_one_version_does_not_block_the_others(daemon: Daemon) -> None:
    bibles = daemon.lane.bibles_dir
    (bibles / "EN_ONE" / "version.toml").unlink()
    os.mkfifo(bibles / "EN_ONE" / "version.toml")
    write_usfm_version(bibles.parent, "EN_OUT", sentences(2, word="hill"))
    (bibles / "EN_OUT").symlink_to(bibles.parent / "EN_OUT")
    write_usfm_version(bibles, "PT_NEW", sentences(2, word="rio"))
    tick = daemon.tick()
    assert tick.added == ["PT_NEW"]
    assert tick.runs["PT_NEW"][1].success
    assert not tick.runs["EN_ONE"][1].success  # it says which file is not a regular one
    assert daemon.lane.count("SELECT count(*) FROM verses WHERE version_code = 'EN_OUT'") == 0
    assert daemon.tick().nothing


def test_a_paused_lane_starts_nothing_and_forgets_nothing(daemon: Daemon) -> None:
    with daemon.lane.corpus.database.connect() as connection:
        pause_lane(connection, "rag_bible", "no quota", "recovery")
    write_usfm_version(daemon.lane.bibles_dir, "PT_NEW", sentences(2, word="rio"))
    tick = daemon.tick()
    assert (tick.added, tick.jobs) == (["PT_NEW"], {})
    assert daemon.tick().nothing
    with daemon.lane.corpus.database.connect() as connection:
        assert resume_lane(connection, "rag_bible", "recovery")
    assert daemon.tick().jobs == {"PT_NEW": EMBED}


def test_the_same_content_is_skipped_and_so_is_a_touched_file(daemon: Daemon) -> None:
    tick = daemon.tick()
    assert tick.nothing
    assert tick.skipped == "2 versions, none changed"
    for path in daemon.lane.bibles_dir.rglob("*"):
        os.utime(path, (1, 1))
    assert daemon.tick().nothing


def test_changed_bytes_and_a_changed_declaration_run_that_version_alone_and_once(
    daemon: Daemon,
) -> None:
    write_usfm_version(daemon.lane.bibles_dir, "EN_ONE", ["Changed", *sentences(2)])
    assert daemon.tick().jobs == {"EN_ONE": EMBED}
    assert daemon.tick().nothing

    declaration = daemon.lane.bibles_dir / "EN_TWO" / "version.toml"
    declaration.write_text(declaration.read_text("utf-8").replace("CC0-1.0", "CC-BY-4.0"), "utf-8")
    assert daemon.tick().jobs == {"EN_TWO": EMBED}
    assert daemon.lane.rows("SELECT licence FROM bible_versions WHERE version_code = 'EN_TWO'") == [
        ("CC-BY-4.0",)
    ]
    assert daemon.tick().nothing


def test_files_that_return_to_an_earlier_state_are_loaded_again(daemon: Daemon) -> None:
    for texts in (["Another"], sentences(3, word="EN_ONE"), ["Another"]):
        write_usfm_version(daemon.lane.bibles_dir, "EN_ONE", texts)
        assert daemon.tick().jobs == {"EN_ONE": EMBED}
        stored = daemon.lane.rows(
            "SELECT text FROM verses WHERE version_code = 'EN_ONE' ORDER BY verse"
        )
        assert [text for (text,) in stored] == texts


def test_a_version_that_forbids_ai_is_only_loaded_until_it_allows_it(daemon: Daemon) -> None:
    for allowed, job in ((False, LOAD), (True, EMBED)):
        write_usfm_version(daemon.lane.bibles_dir, "EN_NEW", sentences(2), ai_allowed=allowed)
        tick = daemon.tick()
        assert tick.jobs == {"EN_NEW": job}
        assert tick.runs["EN_NEW"][1].success


def test_without_auto_embed_a_version_is_only_loaded(make_lane: MakeLane) -> None:
    lane = make_lane(rag_bible_auto_embed=False)
    write_usfm_version(lane.bibles_dir, "EN_ONE", sentences(2))
    assert Daemon(lane).tick().jobs == {"EN_ONE": LOAD}
    assert Daemon(lane).tick().nothing


def test_a_removed_folder_is_reported_and_its_data_and_partition_are_kept(
    daemon: Daemon, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(daemon.lane.bibles_dir / "EN_TWO")
    tick = daemon.tick()
    assert tick.nothing
    assert tick.skipped == "1 version, none changed; gone: EN_TWO"
    assert "EN_TWO: its folder is gone, its data is kept" in capfd.readouterr().err
    assert daemon.lane.count("SELECT count(*) FROM verses WHERE version_code = 'EN_TWO'") == 3
    assert daemon.lane.instance.has_dynamic_partition(BIBLE_VERSIONS, "EN_TWO")


def test_a_broken_file_fails_one_run_and_is_retried_when_it_changes(daemon: Daemon) -> None:
    file = daemon.lane.bibles_dir / "EN_ONE" / "01-GEN.usfm"
    whole = file.read_text("utf-8")
    file.write_text("\\id GEN\n\\c 1\n\\p\n\\v 1 cut \\f + ", "utf-8")
    tick = daemon.tick()
    assert tick.jobs == {"EN_ONE": EMBED}
    assert f"{file}:4:" in tick.runs["EN_ONE"][1].failure("verses").description
    assert daemon.tick().nothing
    file.write_text(whole.replace("EN_ONE", "river"), "utf-8")
    assert daemon.tick().runs["EN_ONE"][1].success


def test_an_unreadable_declaration_fails_one_run_and_does_not_block_the_others(
    daemon: Daemon, capfd: pytest.CaptureFixture[str]
) -> None:
    declaration = daemon.lane.bibles_dir / "EN_ONE" / "version.toml"
    declaration.write_text("ai_allowed = maybe\n", "utf-8")
    write_usfm_version(daemon.lane.bibles_dir, "EN_TWO", sentences(4))
    tick = daemon.tick()
    assert tick.jobs == {"EN_ONE": LOAD, "EN_TWO": EMBED}
    assert f"{declaration}: is not TOML" in tick.runs["EN_ONE"][1].failure("verses").description
    assert f"EN_ONE: {declaration}: is not TOML" in capfd.readouterr().err
    assert daemon.tick().nothing


def test_a_folder_that_cannot_be_read_waits_without_being_called_gone(
    daemon: Daemon, capfd: pytest.CaptureFixture[str]
) -> None:
    (daemon.lane.bibles_dir / "EN_NEW").mkdir()  # nothing copied yet
    (daemon.lane.bibles_dir / "EN_ONE" / "01-GEN.usfm").unlink()
    declaration = daemon.lane.bibles_dir / "EN_TWO" / "version.toml"
    declaration.unlink()
    declaration.mkdir()  # an error of the operating system, not one of ours
    tick = daemon.tick()
    assert tick.added == []
    assert tick.jobs == {"EN_TWO": LOAD}
    told = capfd.readouterr().err
    assert "EN_NEW" in told
    assert "the folder holds no source file" in told
    assert "is gone" not in told
    assert daemon.tick().skipped == ""  # EN_TWO is still asked for, under its spent key


def test_folders_that_are_no_versions_and_loose_files_are_ignored(daemon: Daemon) -> None:
    for name in ("notes", "en_lower", ".git", "EN-DASH", "ENGLISH"):
        (daemon.lane.bibles_dir / name).mkdir()
    (daemon.lane.bibles_dir / "EN_FILE").write_text("a file", "utf-8")
    assert daemon.tick().nothing


def test_no_folder_at_all_is_nothing_to_do(lane: Lane) -> None:
    tick = Daemon(lane).tick()
    assert tick.nothing
    assert tick.skipped == "0 versions, none changed"


def test_a_folder_being_written_is_ignored_until_it_settles(
    make_lane: MakeLane,
) -> None:
    lane = make_lane(rag_bible_settle_s=3600)
    lane.drop("EN_NEW", sentences(3))
    assert Daemon(lane).tick().nothing
    patient = make_lane(rag_bible_settle_s=0)
    assert Daemon(patient).tick().jobs == {"EN_NEW": EMBED}
