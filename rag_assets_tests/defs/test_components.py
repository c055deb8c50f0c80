"""A document corpus that was added by a component, without Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from rag_assets.defs import corpora
from rag_assets.defs.components import DocumentCorpus
from rag_assets.errors import ConfigurationError, RequestError
from rag_assets.retrieval.request import SearchRequest
from rag_assets.retrieval.search import search_text
from rag_assets_tests.corpora import sentences
from rag_assets_tests.defs.conftest import Lane, MakeLane
from rag_assets_tests.defs.deployment import ROOT
from rag_assets_tests.defs.document_lane import DocumentLane
from rag_assets_tests.defs.releasing import release_lane, run_job

TYPE = "rag_assets.defs.components.DocumentCorpus"


def load_from(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the definitions load their components from a package below this folder."""
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(corpora, "COMPONENTS", name)
    return package


def declare(package: Path, folder: str, attributes: str) -> None:
    (package / folder).mkdir()
    lines = "".join(f"  {line}\n" for line in attributes.splitlines())
    (package / folder / "defs.yaml").write_text(f"type: {TYPE}\nattributes:\n{lines}")


@pytest.fixture
def lane(make_lane: MakeLane, tmp_path: Path) -> Lane:
    """The embedder is offline."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox-handbook").mkdir()
    return release_lane(
        make_lane,
        rag_embedding_provider="offline",
        rag_documents_url=str(tmp_path / "inbox"),
        rag_documents_settle_s=0,
    )


def tick(lane: Lane, sensor: str) -> None:
    """Evaluate the deployed sensor, and add the partitions that it asks for."""
    context = dg.build_sensor_context(instance=lane.instance, resources={"corpus": lane.corpus})
    answer = lane.defs().resolve_sensor_def(sensor).evaluate_tick(context)
    for request in answer.dynamic_partitions_requests or ():
        lane.instance.add_dynamic_partitions(
            request.partitions_def_name, list(request.partition_keys)
        )


def sections(topic: str) -> str:
    """Forty passages."""
    return "\n\n".join(f"# {one}\n\n{one}" for one in sentences(40, word=topic))


def fill(lane: Lane, inbox: Path) -> None:
    """Drop a document into both inboxes, and process them in one run."""
    (inbox / "rules.md").write_text(sections("hat"))
    documents = DocumentLane(lane.corpus, lane.instance)
    documents.drop("bridges.md", sections("bridge"))
    tick(lane, "handbook_inbox")  # registers it
    tick(lane, "handbook_inbox")
    (run,) = documents.work()
    assert run.success
    assert list(lane.instance.get_dynamic_partitions("handbook")) == ["rules.md"]
    assert documents.partitions() == ["bridges.md"]
    for asset in ("handbook_chunks", "handbook_embeddings"):
        assert set(documents.shown(asset)) == {"rules.md"}
    assert set(documents.shown("document_chunks")) == {"bridges.md"}


def release_and_search(lane: Lane) -> None:
    released = run_job(lane, "documents_release")
    assert released.success
    assert released.failed_checks() == []
    found = {
        corpus: search_text(
            lane.corpus.database,
            lane.corpus.settings,
            "The hat number 3 runs down to the bridge",
            SearchRequest(corpus=corpus, collapse=True),
        ).hits
        for corpus in ("handbook", "documents", "both")
    }
    keys = {
        corpus: {hit.document.key for hit in hits if hit.document} for corpus, hits in found.items()
    }
    assert keys == {
        "handbook": {"rules.md"},
        "documents": {"bridges.md"},
        "both": {"rules.md", "bridges.md"},
    }


def test_a_corpus_of_one_yaml_file_has_partitions_of_its_own(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = load_from(tmp_path, "added_by_hand", monkeypatch)
    inbox = tmp_path / "inbox-handbook"
    declare(
        package,
        "handbook",
        f"name: handbook\ninbox_url: {inbox}\n"
        "chunking:\n  max_chunk_size: 100\n  chunk_overlap: 10",
    )
    graph = lane.defs().resolve_asset_graph()
    index = graph.get(dg.AssetKey("chunk_embeddings_index"))
    assert {key.to_user_string() for key in index.parent_keys} == {
        "document_embeddings",
        "handbook_embeddings",
    }
    fill(lane, inbox)
    with lane.corpus.database.connect() as connection:
        (chunking,) = connection.execute(
            "SELECT chunking FROM documents WHERE corpus = 'handbook'"
        ).fetchone() or ("",)
    assert "100 tokens, overlap 10" in chunking


def test_two_components_cannot_define_one_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = load_from(tmp_path, "added_twice", monkeypatch)
    for folder in ("first", "second"):
        declare(package, folder, "name: handbook\ninbox_url: there")
    with pytest.raises(ConfigurationError, match=r"two components define .* handbook: rename one"):
        corpora.corpora_definitions()


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        (
            "defs.yaml",
            "type: dagster.DefinitionsComponent\nattributes:\n  path: x.py\n",
            "a DefinitionsComponent",
        ),
        ("more.py", "", "other/more.py"),
    ],
)
def test_what_is_no_corpus_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, named: str
) -> None:
    package = load_from(tmp_path, f"other_{Path(file).stem}", monkeypatch)
    (package / "other").mkdir()
    (package / "other" / file).write_text(content)
    with pytest.raises(ConfigurationError, match=f"holds {named}, which would not be loaded"):
        corpora.corpora_definitions()


def test_a_space_in_the_yaml_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = load_from(tmp_path, "with_a_space", monkeypatch)
    declare(package, "handbook", "name: handbook\ninbox_url: there\nspace: large")
    with pytest.raises(Exception, match="Error while loading component") as error:
        corpora.corpora_definitions()
    assert "cannot choose its space ('large')" in str(error.value.__cause__)


@pytest.mark.parametrize("name", ["bible", "both", "documents", "document", "Handbook", "a-b", ""])
def test_a_name_that_is_taken_or_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a corpus"):
        DocumentCorpus(name=name, inbox_url="there")


def test_what_cannot_work_is_refused_when_it_is_loaded() -> None:
    with pytest.raises(ValueError, match="inbox_url holds a password"):
        DocumentCorpus(name="handbook", inbox_url="sftp://user:secret@host/inbox")
    with pytest.raises(ValueError, match="must be at most half of 100"):
        DocumentCorpus(
            name="handbook",
            inbox_url="there",
            chunking={"max_chunk_size": 100, "chunk_overlap": 60},  # type: ignore[arg-type]
        )


@pytest.mark.long
def test_a_corpus_is_added_by_dg_scaffold_defs(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a copy of the project, as its engineer would; then filled, released and searched."""
    project = tmp_path / "project"
    for name in ("rag_assets", "sql"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project)
    inbox = tmp_path / "inbox-handbook"
    binaries = Path(sys.executable).parent
    subprocess.run(
        [binaries / "dg", "scaffold", "defs", TYPE, "handbook", "--inbox-url", inbox],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(project),
            "VIRTUAL_ENV": str(binaries.parent),
            "HOME": str(tmp_path),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        },
        check=True,
        timeout=120,
        capture_output=True,
    )
    package = load_from(tmp_path, "scaffolded", monkeypatch)
    made = project / "rag_assets" / "defs" / "components" / "handbook"
    assert [file.name for file in made.iterdir()] == ["defs.yaml"]
    shutil.copytree(made, package / "handbook")
    fill(lane, inbox)
    release_and_search(lane)
    with pytest.raises(RequestError, match="handbok is not in the active release"):
        search_text(
            lane.corpus.database, lane.corpus.settings, "a hat", SearchRequest(corpus="handbok")
        )
