"""Reference pages that are generated from the code when the site is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from rag_assets.api.app import create_app
from rag_assets.cli.main import app
from rag_assets.settings.model import Settings

_DECISIONS = Path(__file__).parent / "decisions"


def cli() -> str:
    """Every command of ``rag-assets``, with its help, arguments and options."""
    head = (
        "# Command line\n\nEvery command of `rag-assets`, its arguments and options: what `--help`"
        " shows. Set-up: [the tutorial](../tutorial.md)."
    )
    return "\n".join([head, *_commands(get_command(app), ("rag-assets",))]) + "\n"


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    yield f"\n{'#' * min(len(path) + 1, 4)} {' '.join(path)}\n"
    words = re.sub(r"(?m)^ {4}", "", command.help or "").strip()
    yield re.sub(r"\bdocs/([\w-]+)\.md", r"[\1](../\1.md)", words)
    rows = [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
    if rows:
        yield "\n| parameter | default | what |\n|---|---|---|"
        yield from rows
    for name, one in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(one, (*path, name))


def _parameter(one: Any) -> str:
    words = one.metavar or one.name.upper()
    if one.param_type_name == "option":
        words = ", ".join([*one.opts, *one.secondary_opts])
    kept = one.default is None or callable(one.default) or one.default in (False, (), [])
    default = "" if kept else f"`{getattr(one.default, 'value', one.default)}`"
    what = " ".join(str(getattr(one, "help", None) or "").split())
    return f"| `{words}` | {default} | {_cell(what)} |"


def api() -> str:
    """Every operation of the retrieval API, from its OpenAPI document."""
    document = create_app(Settings(_env_file=None)).openapi()
    lines = [
        "# API\n",
        "Every operation of the retrieval API: parameters, fields of requests, and answers. A"
        " service serves the OpenAPI document at `/openapi.json`, and a page to read it at `/docs`."
        " How to use them: [the retrieval API](../api.md).",
    ]
    for path, operations in document["paths"].items():
        for method, about in operations.items():
            lines += _operation(f"{method.upper()} {path}", about)
    lines.append("\n## Schemas")
    for name, schema in sorted(document["components"]["schemas"].items()):
        if schema.get("properties"):
            lines += [f"\n### {name}\n", _cell(schema.get("description", "")), *_fields(schema)]
    return "\n".join(lines) + "\n"


def _operation(title: str, about: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield about.get("description") or about.get("summary", "")
    if parameters := about.get("parameters"):
        yield "\n| parameter | in | type | what |\n|---|---|---|---|"
        for one in parameters:
            what = one.get("description") or one["schema"].get("description", "")
            yield f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {_cell(what)} |"
    for content in about.get("requestBody", {}).get("content", {}).values():
        yield f"\nBody: {_type(content.get('schema', {}))}"
    yield "\n| status | answer |\n|---|---|"
    for status, answer in sorted(about["responses"].items()):
        shapes = {_type(one.get("schema", {})) for one in answer.get("content", {}).values()}
        yield f"| {status} | {_cell(answer['description'])} {', '.join(sorted(shapes - {''}))} |"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield "\n| field | type | default | what |\n|---|---|---|---|"
    needed = schema.get("required", [])
    for name, one in schema["properties"].items():
        default = (
            "required" if name in needed else f"`{one['default']}`" if "default" in one else ""
        )
        yield f"| `{name}` | {_type(one)} | {default} | {_cell(one.get('description', ''))} |"


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words, with links to those that have names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(one) for one in several))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {})) or 'values'}"
    return str(schema.get("type", ""))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def decisions() -> str:
    """The list of decision records."""
    head = "# Decision records\n\nWhy things are as they are: context, decision and figures.\n"
    titles = [
        (path.name, path.read_text("utf-8").splitlines()[0].removeprefix("# "))
        for path in sorted(_DECISIONS.glob("0*.md"))
    ]
    return head + "".join(f"\n- [{title}]({name})" for name, title in titles) + "\n"
