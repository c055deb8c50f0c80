"""Settings: what is unset, what is refused, and that nothing secret is repeated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rag_assets.embedding.embedder import check_key
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import open_database
from rag_assets.settings.model import Settings, fingerprint, load_settings
from rag_assets.settings.names import READ_ELSEWHERE, unknown_names
from rag_assets_tests.secrets import everything_shown

ROOT = Path(__file__).parents[1]
OPTIONAL = [
    name.upper() for name, field in Settings.model_fields.items() if field.get_default() is None
]


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_empty_string_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert getattr(load_settings(), name.lower()) is None


def test_the_environment_is_read_by_the_field_names_in_upper_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAG_EMBEDDING_BATCH_SIZE", "77")
    monkeypatch.setenv("RAG_BIBLES_DIR", "/srv/bibles")
    settings = load_settings()
    assert settings.rag_embedding_batch_size == 77
    assert settings.rag_bibles_dir == Path("/srv/bibles")


def test_the_environment_wins_over_the_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("OPENAI_API_KEY=sk-from-file\nRAG_EMBEDDING_CONCURRENCY=9\nUNKNOWN=1\n")
    monkeypatch.setitem(Settings.model_config, "env_file", str(env_file))
    monkeypatch.setenv("RAG_EMBEDDING_CONCURRENCY", "4")
    settings = load_settings()
    assert settings.api_keys() == ("sk-from-file",)
    assert settings.rag_embedding_concurrency == 4


def test_a_secret_may_be_a_file_and_the_environment_wins_over_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "openai_api_key").write_text("sk-from-secret\n")
    (tmp_path / "rag_database_password").write_text("from the file\n")
    monkeypatch.setenv("RAG_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("RAG_DATABASE_URL", "postgresql://someone@db.example/corpus")
    settings = load_settings()
    assert settings.api_keys() == ("sk-from-secret",)
    assert "password='from the file'" in open_database(settings).conninfo
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-environment")
    monkeypatch.setenv("RAG_DATABASE_URL", "postgresql://someone:given@db.example/corpus")
    settings = load_settings()
    assert settings.api_keys() == ("sk-from-environment",)
    assert "password=given" in open_database(settings).conninfo


@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_and_an_empty_secret_mean_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Compose and systemd pass ``NAME=`` on; ``make-secrets`` makes empty files."""
    default = load_settings()
    (tmp_path / name).write_text("\n")
    monkeypatch.setenv("RAG_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv(name.upper(), "")
    assert load_settings() == default


@pytest.mark.parametrize("keys", [None, ""])
def test_rotation_without_keys_is_refused_where_something_is_bought(keys: str | None) -> None:
    """And nowhere else: an exporter, or a migration, is given no key."""
    settings = load_settings(
        use_api_key_rotation=True, openai_api_keys=keys, openai_api_key="unused"
    )
    assert settings.api_keys() == ()
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEYS is empty: list the keys there"):
        check_key(settings, "openai")


def test_rotation_takes_the_listed_keys_once_each_in_order() -> None:
    settings = load_settings(
        use_api_key_rotation=True, openai_api_keys=" b , a,,b ", openai_api_key="unused"
    )
    assert settings.api_keys() == ("b", "a")


def test_without_rotation_the_single_key_is_used() -> None:
    assert load_settings(openai_api_keys="a,b", openai_api_key="one").api_keys() == ("one",)
    assert load_settings(openai_api_keys="a,b").api_keys() == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAG_EMBEDDING_BATCH_SIZE", "secret-4711"),
        ("RAG_EMBEDDING_BATCH_SIZE", "2049"),
        ("RAG_EMBEDDING_PROVIDER", "secret-4711"),
        ("RAG_EMBEDDING_SMALL_DIMENSIONS", "4001"),
        ("RAG_EMBEDDING_PRECISION", "secret-4711"),
        ("RAG_EMBEDDING_TIMEOUT_S", "-4711"),
        ("RAG_MAX_RUN_COST_USD", "secret-4711"),
        ("USE_API_KEY_ROTATION", "secret-4711"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: .*See docs/settings.md") as caught:
        load_settings()
    assert value not in everything_shown(caught.value)


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_EMBEDDING_CONCURRENCY", "0")
    monkeypatch.setenv("RAG_EMBEDDING_RATE_LIMIT", "none")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "RAG_EMBEDDING_CONCURRENCY" in str(caught.value)
    assert "RAG_EMBEDDING_RATE_LIMIT" in str(caught.value)


def test_secrets_are_not_shown_by_settings() -> None:
    settings = load_settings(
        rag_database_url="postgresql://u:hidden-word@h/d",
        openai_api_key="sk-hidden-word",
        openai_api_keys="sk-hidden-word",
    )
    assert "hidden-word" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_fingerprint_names_a_key_without_showing_it() -> None:
    assert fingerprint("sk-test-one") == fingerprint("sk-test-one")
    assert fingerprint("sk-test-one") != fingerprint("sk-test-two")
    assert len(fingerprint("sk-test-one")) == 8


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_blanks_around_a_key_do_no_harm_and_what_cannot_be_a_key_is_refused() -> None:
    assert Settings(openai_api_key="sk-one\n").api_keys() == ("sk-one",)
    assert Settings(openai_api_key="  ").api_keys() == ()
    with pytest.raises(ConfigurationError, match="API key 1 of 1 has characters"):
        Settings(openai_api_key="sk-chavé").api_keys()


def test_an_unknown_name_is_reported_with_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(unknown_names()) == []
    monkeypatch.setenv("RAG_EMBEDDING_BATCHSIZE", "64")
    monkeypatch.setenv("RAG_SECRETS_DIR", "/run/secrets")
    monkeypatch.setenv("RAG_API_SERVICE_PORT_HTTP", "80")
    monkeypatch.setenv("RAG_API_PORT_8000_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("rag_home", "/srv/rag")
    monkeypatch.setenv("RAG_UNSET", "")
    (tmp_path / ".env").write_text(
        "RAG_EMBEDING_RATE_LIMIT=500\nRAG_IMAGE=a:1\nRAG_=x\nOTHER=1\n"
        "OPENAI_APIKEY=sk-1\nOPENAI_ORG_ID=mine\nPG_COLOR=auto\nPG_IVFFLAT_PROBE=9\n"
    )
    assert list(unknown_names()) == [
        "RAG_EMBEDDING_BATCHSIZE in the environment is no setting and has no effect: "
        "did you mean RAG_EMBEDDING_BATCH_SIZE?",
        "OPENAI_APIKEY in .env is no setting and has no effect: did you mean OPENAI_API_KEY?",
        "PG_IVFFLAT_PROBE in .env is no setting and has no effect: did you mean PG_IVFFLAT_PROBES?",
        "RAG_ in .env is no setting and has no effect",
        "RAG_EMBEDING_RATE_LIMIT in .env is no setting and has no effect: "
        "did you mean RAG_EMBEDDING_RATE_LIMIT?",
    ]


def test_names_that_deployments_read_are_known() -> None:
    """What Compose and the workers' services take from ``.env`` is not reported as a mistake."""
    files = [ROOT / "docker-compose.yml", ROOT / "sql/roles.sql", *(ROOT / "deploy").rglob("*")]
    texts = [path.read_text("utf-8") for path in files if path.is_file()]
    names = {name for text in texts for name in re.findall(r"\bRAG_[A-Z0-9_]*[A-Z0-9]\b", text)}
    assert len(names) > 20
    assert names - {name.upper() for name in Settings.model_fields} - READ_ELSEWHERE == set()


def test_a_size_of_memory_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_INDEX_MAINTENANCE_WORK_MEM", "4XB")
    with pytest.raises(ConfigurationError, match="MEM: must be a whole number and its unit"):
        load_settings()
