"""What a tick of the sensor decides, case by case, and what must hold in every case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_assets.bible.sql.verses import StoredVersion
from rag_assets.bible.versions import VersionDeclaration
from rag_assets.defs.bible.sensors import TickDecision, VersionOnDisk, decide_tick

EMBED, LOAD = "bible_embeddings", "bible_verses"
OPEN = VersionDeclaration("A", "en", "CC0-1.0", ai_allowed=True, enabled_for_rag=True)
SHUT = VersionDeclaration("A", "en", "CC0-1.0", ai_allowed=False, enabled_for_rag=True)
LOADED_AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def on_disk(
    source_hash: str | None = "one", declaration: VersionDeclaration | None = OPEN
) -> VersionOnDisk:
    """EN_A's folder."""
    return VersionOnDisk("EN_A", source_hash, declaration)


def stored(
    source_hash: str = "one",
    declaration: VersionDeclaration = OPEN,
    *,
    code: str = "EN_A",
    loaded_at: datetime = LOADED_AT,
) -> dict[str, StoredVersion]:
    """EN_A as it was loaded."""
    return {
        code: StoredVersion(
            code,
            declaration.name,
            declaration.language,
            declaration.licence,
            declaration.ai_allowed,
            declaration.enabled_for_rag,
            "usfm",
            source_hash,
            1,
            1,
            loaded_at,
        )
    }


@pytest.mark.parametrize(
    ("folder", "before", "auto_embed", "job"),
    [
        (on_disk(), {}, True, EMBED),
        (on_disk(), {}, False, LOAD),
        (on_disk(declaration=SHUT), {}, True, LOAD),
        (on_disk(declaration=None), {}, True, LOAD),
        (on_disk(), stored(), True, None),
        (on_disk(), stored(), False, None),
        (on_disk("two"), stored(), True, EMBED),
        (on_disk("two"), stored(), False, LOAD),
        (on_disk(), stored(declaration=SHUT), True, EMBED),
        (on_disk(declaration=SHUT), stored(), True, LOAD),
        (on_disk(declaration=SHUT), stored(declaration=SHUT), True, None),
        (on_disk(declaration=None), stored(), True, LOAD),
        (on_disk(None, None), stored(), True, None),
        (on_disk(None, None), {}, True, None),
    ],
)
def test_a_version_is_run_when_it_is_new_or_differs_from_what_is_stored(
    folder: VersionOnDisk, before: dict[str, StoredVersion], auto_embed: bool, job: str | None
) -> None:
    decision = decide_tick([folder], before, ["EN_A"], auto_embed=auto_embed)
    assert [(code, name) for code, name, _ in decision.run] == ([("EN_A", job)] if job else [])
    assert (decision.add, decision.gone) == ((), ())


@pytest.mark.parametrize(
    ("folders", "partitions", "add"),
    [
        ([on_disk()], [], ("EN_A",)),
        ([on_disk()], ["EN_A"], ()),
        ([on_disk(declaration=None)], [], ("EN_A",)),
        ([on_disk(None, None)], [], ()),  # still being copied
        ([], ["EN_OLD"], ()),
    ],
)
def test_a_partition_is_added_for_a_folder_that_has_none(
    folders: list[VersionOnDisk], partitions: list[str], add: tuple[str, ...]
) -> None:
    assert decide_tick(folders, {}, partitions, auto_embed=True).add == add


def test_a_stored_version_without_folder_is_gone_and_one_with_an_unreadable_folder_is_not() -> None:
    before = stored() | stored(code="EN_GONE")
    decision = decide_tick([on_disk(None, None)], before, ["EN_A", "EN_GONE"], auto_embed=True)
    assert decision == TickDecision(add=(), run=(), gone=("EN_GONE",))


def key_of(folder: VersionOnDisk, before: dict[str, StoredVersion]) -> str:
    """The key of the one run."""
    ((_, _, key),) = decide_tick([folder], before, ["EN_A"], auto_embed=True).run
    return key


def test_the_run_key_is_the_same_for_the_same_content_and_differs_for_any_other() -> None:
    before = stored("zero")
    keys = [
        key_of(on_disk("one"), before),
        key_of(on_disk("two"), before),
        key_of(on_disk("one", SHUT), before),
        key_of(on_disk("one", None), before),
        key_of(on_disk("one"), {}),
        # Loaded since then, and back to what it was: a key is spent for good, so it must differ.
        key_of(on_disk("one"), stored("two", loaded_at=LOADED_AT + timedelta(microseconds=1))),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key_of(on_disk("one"), stored("zero"))


CODES = st.sampled_from(["EN_A", "EN_B", "PT_C"])
DECLARATIONS = st.sampled_from([OPEN, SHUT])
FOLDERS = st.dictionaries(
    CODES, st.tuples(st.sampled_from(["one", "two", None]), DECLARATIONS | st.none())
)
STORED = st.dictionaries(CODES, st.tuples(st.sampled_from(["one", "two"]), DECLARATIONS))


@given(FOLDERS, STORED, st.sets(CODES), st.booleans())
def test_no_text_that_forbids_ai_is_ever_sent_and_nothing_current_is_run(
    folders: dict[str, tuple[str | None, VersionDeclaration | None]],
    before: dict[str, tuple[str, VersionDeclaration]],
    partitions: set[str],
    auto_embed: bool,
) -> None:
    found = [VersionOnDisk(code, *held) for code, held in folders.items()]
    known = {
        code: stored(source_hash, declaration, code=code)[code]
        for code, (source_hash, declaration) in before.items()
    }
    decision = decide_tick(found, known, partitions, auto_embed=auto_embed)
    for code, job, _ in decision.run:
        source_hash, declaration = folders[code]
        assert source_hash is not None
        assert (source_hash, declaration) != before.get(code)
        assert code in partitions or code in decision.add
        if job == EMBED:
            assert auto_embed
            assert declaration is OPEN
    run = {code for code, _, _ in decision.run}
    for code, (source_hash, declaration) in folders.items():
        current = (source_hash, declaration) == before.get(code)
        assert (code in run) is (source_hash is not None and not current)
    assert set(decision.gone) == before.keys() - folders.keys()
    assert set(decision.add).isdisjoint(partitions)
