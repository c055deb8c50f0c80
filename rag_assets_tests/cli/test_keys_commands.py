"""``rag-assets keys``: made, listed without secrets, revoked."""

from __future__ import annotations

import pytest

from rag_assets.api.sql.keys import find_key
from rag_assets.postgres.database import Database
from rag_assets_tests.cli.conftest import Run

pytestmark = pytest.mark.long


def test_a_key_is_made_listed_and_revoked(run: Run, database: Database) -> None:
    made = run("keys", "create", "the reading room", "--per-minute", "90")
    assert made.status == 0, made.err
    key = made.out.strip()
    assert "cannot be shown again" in made.err
    with database.connect() as connection:
        found = find_key(connection, key)
    assert found is not None
    assert (found.name, found.scopes, found.requests_per_minute) == (
        "the reading room", ("read",), 90,
    )  # fmt: skip

    _, key_id, secret = key.split("_", 2)
    listed = run("keys", "list")
    assert key_id in listed.out
    assert "the reading room" in listed.out
    assert secret not in listed.out + listed.err

    revoked = run("keys", "revoke", key_id)
    assert (revoked.status, revoked.out.strip()) == (0, f"{key_id} is revoked")
    with database.connect() as connection:
        assert find_key(connection, key) is None
    again = run("keys", "revoke", key_id)
    assert again.status == 1
    assert f"there is no key {key_id} to revoke" in again.err


def test_json_is_one_document_each(run: Run, database: Database) -> None:
    made = run("keys", "create", "admin's", "--scope", "read", "--scope", "admin", "--json").json
    assert made["scopes"] == ["read", "admin"]
    (listed,) = run("keys", "list", "--json").json
    assert (listed["name"], listed["requests_per_minute"], listed["revoked_at"]) == (
        "admin's", 600, None,
    )  # fmt: skip
    assert "secret" not in str(listed)
    assert run("keys", "revoke", listed["key_id"], "--json").json == {"revoked": listed["key_id"]}


def test_a_setting_gives_the_rate(run: Run) -> None:
    run("keys", "create", "slow", RAG_API_REQUESTS_PER_MINUTE="7")
    assert run("keys", "list", "--json").json[0]["requests_per_minute"] == 7


def test_a_key_is_confined(run: Run) -> None:
    made = run("keys", "create", "a", "--versions", "PT_*, EN_KJV", "--languages", "pt", "--json")
    confined = {"corpora": None, "versions": ["PT_*", "EN_KJV"], "languages": ["pt"]}
    assert made.json["confinement"] == confined
    assert run("keys", "list", "--json").json[0]["confinement"] == confined
    assert "versions PT_* EN_KJV, languages pt" in " ".join(run("keys", "list").out.split())
    for wrong, why in (
        (["--versions", ","], "--versions is empty"),
        (["--versions", "pt_*"], "codes are capitals, such as PT_*"),
        (["--languages", "pt-BR"], "pt-BR is no language"),
        (["--corpora", "books"], "unknown corpus books"),
        (["--corpora", "documents", "--versions", "PT_*"], "add bible to --corpora"),
        (["--corpora", "documents", "--scope", "admin"], "the scope read alone"),
    ):
        refused = run("keys", "create", "a", *wrong)
        assert (refused.status, why in " ".join(refused.err.split())) == (1, True), refused.err
    assert len(run("keys", "list", "--json").json) == 1


def test_what_is_wrong_is_a_sentence(run: Run) -> None:
    nameless = run("keys", "create", " ")
    assert (nameless.status, "a key needs a name" in nameless.err) == (1, True)
    unknown = run("keys", "create", "x", "--scope", "write")
    assert unknown.status == 1
    assert "unknown scope write: the scopes are read, admin" in unknown.err
    assert run("keys", "create", "x", "--per-minute", "0").status == 2
    assert "no key yet" in run("keys", "list").out
    assert run("keys", "list", "--json").json == []
