"""``rag-assets provider`` with a real server, and where there is none."""

from __future__ import annotations

from openai_emulator.process import Emulator
from rag_assets_tests.cli.conftest import Run


def with_server(emulator: Emulator) -> dict[str, str]:
    return {
        "RAG_EMBEDDING_PROVIDER": "openai",
        "OPENAI_BASE_URL": emulator.base_url,
        "OPENAI_API_KEY": "sk-test-one",
        "RAG_EMBEDDING_SMALL_MODEL": "bge-m3",
        "RAG_EMBEDDING_SMALL_DIMENSIONS": "1024",
    }


def test_a_server_is_probed_once_and_its_profile_is_shown_by_provider_plan_and_doctor(
    run: Run, environment: dict[str, str], emulator: Emulator
) -> None:
    emulator.speak("tei")
    environment |= with_server(emulator)
    assert "not probed yet" in run("provider").out
    assert "not probed yet" in run("bible", "plan").out
    probed = run("provider", "--probe", "--json").json
    assert probed["small"]["largest_batch"] == 32
    requests = emulator.stats().requests
    assert probed == run("provider", "--json").json
    for command in (["provider"], ["bible", "plan"], ["doctor"]):
        assert "32 texts per request" in " ".join(run(*command).out.split()), command
    assert emulator.stats().requests == requests


def test_a_provider_in_this_process_has_no_server_to_probe(run: Run) -> None:
    assert "there is no server to probe" in run("provider").out
    refused = run("provider", "--probe")
    assert (refused.status, "there is no server to probe" in refused.err) == (1, True)
