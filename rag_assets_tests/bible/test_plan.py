"""The plan: its figures against what a run then pays, and that planning writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from openai_emulator.process import Emulator
from rag_assets.bible.embed_verses import EmbedOptions, embed_version
from rag_assets.bible.limits import reading_limits
from rag_assets.bible.plan import (
    SpacePlan,
    check_budget,
    plan_folder,
    plan_version,
    plan_versions,
)
from rag_assets.bible.sandbox import read_version
from rag_assets.bible.sql.verses import load_verses
from rag_assets.bible.versions import find_version_folder
from rag_assets.errors import BudgetExceededError, CorpusError, PolicyError
from rag_assets.postgres.database import Database
from rag_assets.settings.model import Settings
from rag_assets.vectors.prices import together
from rag_assets.vectors.sql.spaces import Role
from rag_assets_tests.conftest import MakeSettings
from rag_assets_tests.corpora import ALLOWED, load_version, sentences, write_usfm_version

CODE = "EN_TEST"


def plan(
    database: Database,
    settings: Settings,
    role: Role = "small",
    *,
    overwrite: bool = False,
    limit: int | None = None,
    batch_size: int | None = None,
) -> SpacePlan:
    with database.connect() as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        return plan_version(
            connection,
            settings,
            CODE,
            role,
            overwrite=overwrite,
            limit=limit,
            batch_size=batch_size,
        )


def all_rows(database: Database) -> Mapping[str, int]:
    """Rows of every table; and so every table that there is."""
    with database.connect() as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'v', 'S')"
        ).fetchall()
        counts = {}
        for (name,) in names:
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))
            (counts[name],) = connection.execute(statement).fetchone() or (0,)
    return counts


def size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def test_before_anything_is_known_tokens_are_a_quarter_of_the_bytes(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    texts = sentences(100)
    load_version(database, CODE, [*texts, *texts[:20]])
    before = all_rows(database)
    found = plan(database, openai_settings())
    tokens = round(size(texts) / 4)
    assert (found.rows, found.reused, found.texts, found.requests) == (120, 0, 100, 4)
    assert (found.version_code, found.role, found.tokens) == (CODE, "small", tokens)
    assert str(found.space) == "openai/text-embedding-3-small halfvec(1536)"
    assert found.cost_usd == pytest.approx(tokens * 0.02 / 1e6)
    assert plan(database, openai_settings(), "large").cost_usd == pytest.approx(tokens * 0.13 / 1e6)
    assert all_rows(database) == before, "nothing is written, no space is registered"
    assert emulator.stats().requests == 0


def test_the_run_then_pays_what_was_planned(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, [*sentences(100), *sentences(20)])
    found = plan(database, openai_settings())
    report = embed_version(database, openai_settings(), CODE, EmbedOptions(), "small", run_id="run")
    stats = emulator.stats()
    assert (found.texts, found.requests) == (stats.inputs_answered, stats.ok)
    assert found.tokens == pytest.approx(stats.tokens_billed, rel=0.05)
    assert found.cost_usd == pytest.approx(report.cost_usd, rel=0.05)
    after = plan(database, openai_settings())
    assert (after.rows, after.texts, after.tokens, after.requests, after.cost_usd) == (0,) * 5


def test_the_ledger_calibrates_the_next_plan(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(40))
    embed_version(database, openai_settings(), CODE, EmbedOptions(), "small", run_id="run")
    with database.connect() as connection:
        connection.execute("UPDATE embedding_ledger SET tokens = input_bytes / 2")
    new = sentences(30, word="hill")
    load_version(database, CODE, [*sentences(40), *new])
    assert plan(database, openai_settings()).tokens == pytest.approx(size(new) / 2, rel=0.01)
    assert plan(database, openai_settings(), "large").tokens == round(size(sentences(40) + new) / 4)


def test_texts_that_the_space_has_are_reused(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, "EN_FIRST", sentences(50))
    embed_version(database, openai_settings(), "EN_FIRST", EmbedOptions(), "small", run_id="run")
    load_version(database, CODE, [*sentences(60), *sentences(10)])
    found = plan(database, openai_settings())
    assert (found.rows, found.reused, found.texts, found.requests) == (70, 60, 10, 1)


def test_what_was_bought_but_not_published_is_not_planned_again(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    from rag_assets_tests.vectors.vectors import answer_texts, space_of, unit_vectors

    load_version(database, CODE, sentences(30))
    space = space_of(database, openai_settings())
    with database.connect() as connection:
        answer_texts(connection, space, sentences(30)[:12], unit_vectors(12, space))
    found = plan(database, openai_settings())
    assert (found.rows, found.reused, found.texts) == (30, 12, 18)
    overwriting = plan(database, openai_settings(), overwrite=True)
    assert overwriting.texts == 18, "an overwriting run that was killed goes on, too"


def test_overwriting_is_planned_in_full_and_a_limit_in_part(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(100))
    embed_version(database, openai_settings(), CODE, EmbedOptions(), "small", run_id="run")
    assert plan(database, openai_settings(), overwrite=True).texts == 100
    assert plan(database, openai_settings(), overwrite=True, limit=7).texts == 7
    assert plan(database, openai_settings(), overwrite=True, batch_size=9).requests == 12


@pytest.mark.parametrize(
    ("limits", "minutes"),
    [
        ({}, 7 * 0.5 / 3 / 60),
        ({"rag_embedding_rate_limit": 2}, 3.5),
        ({"rag_embedding_concurrency": 1}, 7 * 0.5 / 60),
    ],
)
def test_the_time_is_that_of_the_tightest_limit(
    database: Database, openai_settings: MakeSettings, limits: dict[str, object], minutes: float
) -> None:
    load_version(database, CODE, sentences(200))
    assert plan(database, openai_settings(**limits)).minutes == pytest.approx(minutes)


def test_a_tight_token_limit_makes_more_requests_that_take_longer(
    database: Database, openai_settings: MakeSettings
) -> None:
    load_version(database, CODE, sentences(200))
    found = plan(database, openai_settings(rag_embedding_token_limit=1000))
    assert found.requests == -(-found.tokens // 50)
    assert found.minutes == pytest.approx(found.tokens / 1000)


def test_the_offline_embedder_costs_nothing(
    database: Database, make_settings: MakeSettings
) -> None:
    load_version(database, CODE, sentences(200))
    found = plan(database, make_settings())
    assert (found.rows, found.cost_usd, found.minutes) == (200, 0, 0)


def test_a_version_that_is_not_loaded_yet_is_planned_from_its_folder(
    database: Database, openai_settings: MakeSettings, tmp_path: Path
) -> None:
    texts = sentences(40)
    write_usfm_version(tmp_path, CODE, texts)
    before = all_rows(database)
    with database.connect() as connection:
        (found,) = plan_folder(
            connection, openai_settings(), find_version_folder(tmp_path, CODE), ["small"]
        )
    assert (found.rows, found.texts, found.tokens) == (40, 40, round(size(texts) / 4))
    assert all_rows(database) == before


def test_within_the_budget_nothing_is_said_and_above_it_the_run_is_refused(
    database: Database, openai_settings: MakeSettings
) -> None:
    load_version(database, CODE, sentences(2000))
    roles: tuple[Role, Role] = ("small", "large")
    plans = [plan(database, openai_settings(), role) for role in roles]
    cost = together(found.cost_usd for found in plans)
    assert cost is not None
    check_budget(openai_settings(), plans)
    check_budget(openai_settings(rag_max_run_cost_usd=cost), plans)
    tight = openai_settings(rag_max_run_cost_usd=cost * 0.99)
    with pytest.raises(BudgetExceededError, match="more than RAG_MAX_RUN_COST_USD") as caught:
        check_budget(tight, plans)
    assert f"${cost:.4f}" in str(caught.value)
    check_budget(tight, plans[:1])
    check_budget(openai_settings(rag_max_run_cost_usd=0), [])


def test_an_unknown_price_makes_an_unknown_cost_and_no_budget_lets_it_through(
    database: Database, openai_settings: MakeSettings
) -> None:
    load_version(database, CODE, sentences(3))
    bge_m3 = {"rag_embedding_small_model": "bge-m3", "rag_embedding_small_dimensions": 8}
    unnamed = bge_m3 | {"openai_base_url": "https://models.example/v1"}
    found = plan(database, openai_settings(**unnamed))
    assert found.tokens > 0
    assert found.cost_usd is None
    check_budget(openai_settings(**unnamed), [found])
    setting = "Set RAG_EMBEDDING_SMALL_USD_PER_MILLION_TOKENS"
    with pytest.raises(BudgetExceededError, match=f"price of bge-m3 is not known.*{setting}"):
        check_budget(openai_settings(rag_max_run_cost_usd=1000, **unnamed), [found])
    priced = openai_settings(rag_embedding_small_usd_per_million_tokens=0, **unnamed)
    assert plan(database, priced).cost_usd == 0


def test_a_server_of_this_machine_costs_nothing_unless_its_price_is_set(
    database: Database, openai_settings: MakeSettings
) -> None:
    load_version(database, CODE, sentences(3))
    local = {"openai_base_url": "http://localhost:11434/v1", "rag_embedding_small_model": "bge-m3"}
    settings = openai_settings(**local, rag_max_run_cost_usd=0)
    found = plan(database, settings)
    assert found.tokens > 0
    assert found.cost_usd == 0
    check_budget(settings, [found])
    priced = openai_settings(**local, rag_embedding_small_usd_per_million_tokens=1)
    assert plan(database, priced).cost_usd == pytest.approx(found.tokens / 1e6)
    gateway = local | {"rag_embedding_small_model": "openai/text-embedding-3-small"}
    cost = plan(database, openai_settings(**gateway)).cost_usd
    assert cost == pytest.approx(found.tokens * 0.02 / 1e6), "OpenAI's model behind a gateway"


def test_the_ledger_and_all_tables_hold_fingerprints_and_no_key(
    database: Database, openai_settings: MakeSettings, emulator: Emulator
) -> None:
    load_version(database, CODE, sentences(5))
    embed_version(database, openai_settings(), CODE, EmbedOptions(), "small", run_id="run")
    with database.connect() as connection:
        for name in ("embedding_ledger", "provider_keys", "provider_limits", "embedding_failures"):
            statement = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
            for (row,) in connection.execute(statement).fetchall():
                assert "sk-test-one" not in row


BROKEN = {
    "no TOML": ("ai_allowed = yes", CorpusError, "version.toml: is not TOML"),
    "unknown entry": ("ai_alowed = true", CorpusError, "unknown entry 'ai_alowed'"),
    "wrong type": ('ai_allowed = "true"', CorpusError, "ai_allowed must be true or false"),
    "not allowed": ("ai_allowed = false", PolicyError, "does not declare that its text may go"),
}


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_a_plan_refuses_what_the_run_refuses(
    database: Database, openai_settings: MakeSettings, tmp_path: Path, name: str, loaded: bool
) -> None:
    declared, error, reason = BROKEN[name]
    settings = openai_settings(rag_bibles_dir=tmp_path)
    folder = write_usfm_version(tmp_path, CODE, sentences(3))
    if loaded:
        read = read_version(folder, reading_limits(settings))
        with database.connect() as connection:
            load_verses(
                connection, CODE, ALLOWED, read.bible, source_hash=read.source_hash, run_id="load"
            )
    (folder / "version.toml").write_text(declared, "utf-8")
    warnings: list[str] = []
    with database.connect() as connection:
        with pytest.raises(error, match=reason):
            plan_versions(connection, settings, [CODE], warn=warnings.append)
        assert plan_versions(connection, settings, [], warn=warnings.append) == []
    (warning,) = warnings
    assert warning.startswith(f"{CODE} is left out: ")


def test_a_plan_refuses_a_version_that_is_loaded_and_not_allowed_when_its_folder_is_gone(
    database: Database, openai_settings: MakeSettings, tmp_path: Path
) -> None:
    load_version(database, CODE, sentences(3), replace(ALLOWED, ai_allowed=False))
    settings = openai_settings(rag_bibles_dir=tmp_path)
    with database.connect() as connection, pytest.raises(PolicyError, match="ai_allowed = true"):
        plan_versions(connection, settings, [CODE], warn=print)
