"""The MCP server: tools with structured output, whatever carries the messages.

Every call has a request of the API: the HTTP request that carried it or, on standard input and
output, one of its own. Keys, scopes and rates are checked on that request, as for any route.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from rag_assets.api.agents.tools import TOOLS, Tool
from rag_assets.api.problems import as_problem, problem_body
from rag_assets.api.security import Guard, service_of
from rag_assets.tracing import span

log = logging.getLogger("rag_assets.api")
GUARD = Guard("read")

_INSTRUCTIONS = (
    "Search Bible versions and documents that passed a quality gate. Call list_corpus to see what "
    "there is, search to find passages, and fetch to read around a hit; explain says why a passage "
    "is, or is not, among the hits. Quote texts with their "
    "reference and version."
)


def mcp_server(make_request: Callable[[], Request] | None = None) -> Server[Any]:
    """Create the server.

    :param make_request: the request of a call that came without one.
    """
    tools = {tool.name: tool for tool in TOOLS}

    async def list_tools(
        _ctx: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in TOOLS])

    async def call_tool(
        ctx: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            raise MCPError(
                code=types.INVALID_PARAMS,
                message=f"there is no tool {params.name}. There are {', '.join(tools)}",
            )
        request = ctx.request or (make_request() if make_request else None)
        if request is None:
            raise MCPError(code=types.INTERNAL_ERROR, message="the call has no request")
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool.name}
        with span(f"execute_tool {tool.name}", about):
            return await _called(tool, request, params.arguments or {})

    return Server(
        "rag_assets",
        version=version("rag-assets"),
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _called(tool: Tool, request: Request, arguments: dict[str, Any]) -> types.CallToolResult:
    """Call a tool; an error is a result with the problem, which the agent can read."""
    service = await service_of(request)
    status = 200
    try:
        await GUARD.check(request)
        answer = await tool.answer(request, service, _valid(tool, arguments))
        structured = answer.model_dump(mode="json")
    except Exception as error:
        found = as_problem(error)
        if found.status == 500:
            log.error("unexpected error", exc_info=error)
        status, structured = found.status, problem_body(found)
    fields = getattr(request.state, "log_fields", {})
    request.state.log_fields = {"tool": tool.name, "tool_status": status, **fields}
    service.metrics.tool_calls.labels(tool.name, str(status)).inc()
    if tool.name == "search":
        state = request.scope.get("state", {})
        service.metrics.requests.labels(
            str(status), state.get("corpus", "none"), state.get("plan", "none")
        ).inc()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(structured, ensure_ascii=False))],
        structured_content=structured,
        is_error=status != 200,
    )


def _valid(tool: Tool, arguments: dict[str, Any]) -> Any:
    try:
        return tool.arguments.model_validate(arguments)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.arguments.model_json_schema(),
        output_schema=tool.answers.model_json_schema(mode="serialization"),
        annotations=types.ToolAnnotations(read_only_hint=True, open_world_hint=False),
    )
