"""Files and batches, as OpenAI has them: ``/v1/files`` and ``/v1/batches``, for embeddings only.

A batch is answered and billed when it, or the figures, are asked for after its time is up. Answers
are kept in files, because those to 50,000 texts are 400 MB.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from openai_emulator import answers, refusals
from openai_emulator.faults import Fault, FaultKind
from openai_emulator.requests import read_key, read_request

if TYPE_CHECKING:
    from openai_emulator.app import State

MAX_INPUTS = 50_000
MAX_BYTES = 200_000_000
WINDOW_S = 24 * 3600
OPEN = ("validating", "in_progress", "finalizing", "cancelling")


@dataclass
class Stored:
    """A file."""

    path: Path
    purpose: str

    def described(self, file_id: str) -> dict[str, object]:
        """As the API describes it."""
        size = self.path.stat().st_size
        return {
            **{"id": file_id, "object": "file", "bytes": size, "created_at": int(time.time())},
            **{"filename": "batch.jsonl", "purpose": self.purpose, "status": "processed"},
        }


@dataclass
class Batch:
    """A batch and how it stands.

    :param fault: what was ordered for it.
    :param tokens: enqueued while it is open.
    """

    batch_id: str
    input_file_id: str
    metadata: dict[str, str]
    lines: list[bytes]
    fault: Fault | None
    created: float
    tokens: int
    status: str = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, object]] = field(default_factory=list)
    completed: int = 0
    failed: int = 0

    def described(self) -> dict[str, object]:
        """As the API describes it."""
        made = int(self.created)
        return {
            **{"id": self.batch_id, "object": "batch", "endpoint": "/v1/embeddings"},
            **{"input_file_id": self.input_file_id, "completion_window": "24h"},
            **{"status": self.status, "metadata": self.metadata, "created_at": made},
            **{"output_file_id": self.output_file_id, "error_file_id": self.error_file_id},
            **{"expires_at": made + WINDOW_S},
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "request_counts": {
                "total": len(self.lines),
                "completed": self.completed,
                "failed": self.failed,
            },
        }


class Batches:
    """The routes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-batches-")
        self._files: dict[str, Stored] = {}
        self._batches: dict[str, Batch] = {}

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/files", self._guarded(self._upload), methods=["POST"]),
            Route("/v1/files/{id}", self._guarded(self._delete), methods=["DELETE"]),
            Route("/v1/files/{id}/content", self._guarded(self._content), methods=["GET"]),
            Route("/v1/batches", self._guarded(self._create), methods=["POST"]),
            Route("/v1/batches", self._guarded(self._list), methods=["GET"]),
            Route("/v1/batches/{id}", self._guarded(self._retrieve), methods=["GET"]),
            Route("/v1/batches/{id}/cancel", self._guarded(self._cancel), methods=["POST"]),
        ]

    def forget(self) -> None:
        """Forget all batches: those that are open would be billed later."""
        self._batches.clear()

    def go_on(self) -> None:
        """Answer, and bill, the batches whose time is up."""
        for batch in self._batches.values():
            self._go_on(batch)

    def _guarded(self, respond: Any) -> Any:
        async def guarded(request: Request) -> Response:
            try:
                read_key(request.headers.get("authorization", ""), self._state.valid_keys)
                if self._state.faults.away(time.monotonic()):
                    raise refusals.unavailable()
                response: Response = await respond(request)
            except refusals.Refused as refused:
                return JSONResponse(refused.body(), refused.status)
            return response

        return guarded

    async def _upload(self, request: Request) -> Response:
        parts = _parts(await request.body(), request.headers["content-type"])
        content = parts["file"]
        if len(content) > MAX_BYTES:
            raise refusals.bad_request("The file is larger than 200 MB.")
        file_id = self._keep(content, parts["purpose"].decode())
        return JSONResponse(self._files[file_id].described(file_id))

    async def _delete(self, request: Request) -> Response:
        file_id = request.path_params["id"]
        self._file(file_id).path.unlink()
        del self._files[file_id]
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def _content(self, request: Request) -> Response:
        stored = self._file(request.path_params["id"])
        fault = self._state.faults.choose_batch(FaultKind.BATCH_CUT)
        if fault is None:
            return FileResponse(stored.path)

        async def half() -> Any:
            content = stored.path.read_bytes()
            yield content[: len(content) // 2]

        return StreamingResponse(half())

    async def _create(self, request: Request) -> Response:
        given = await request.json()
        stored = self._file(given["input_file_id"])
        lines = stored.path.read_bytes().splitlines()
        fault = self._state.faults.choose_batch()
        batch = Batch(
            batch_id=f"batch_{uuid.uuid4().hex}",
            input_file_id=given["input_file_id"],
            metadata=given.get("metadata") or {},
            lines=lines,
            fault=fault,
            created=time.time(),
            tokens=0,
        )
        self._validate(batch)
        self._batches[batch.batch_id] = batch
        return JSONResponse(batch.described())

    async def _list(self, request: Request) -> Response:
        found = sorted(self._batches.values(), key=lambda batch: -batch.created)
        after = request.query_params.get("after")
        if after:
            places = [place for place, batch in enumerate(found) if batch.batch_id == after]
            found = found[places[0] + 1 :] if places else []
        limit = int(request.query_params.get("limit", 20))
        return JSONResponse(
            {
                "object": "list",
                "data": [batch.described() for batch in found[:limit]],
                "has_more": len(found) > limit,
            }
        )

    async def _retrieve(self, request: Request) -> Response:
        batch = self._batch(request)
        self._go_on(batch)
        return JSONResponse(batch.described())

    async def _cancel(self, request: Request) -> Response:
        batch = self._batch(request)
        if batch.status in OPEN:
            self._answer(batch, len(batch.lines) // 2)
            batch.status = "cancelled"
        return JSONResponse(batch.described())

    def _validate(self, batch: Batch) -> None:
        requests = [json.loads(line) for line in batch.lines]
        inputs = 0
        for line in requests:
            texts = line["body"]["input"]
            inputs += 1 if isinstance(texts, str) else len(texts)
            batch.tokens += sum(-(-len(text.encode()) // 4) for text in texts)
        ids = [line["custom_id"] for line in requests]
        kind = batch.fault.kind if batch.fault else None
        queued = sum(one.tokens for one in self._batches.values() if one.status in OPEN)
        most = self._state.enqueued_tokens
        code = message = ""
        if inputs > MAX_INPUTS:
            code, message = "too_many_tasks", f"{inputs} inputs, at most {MAX_INPUTS}"
        elif len(set(ids)) < len(ids):
            code, message = "duplicate_custom_id", "the custom_id of a line is not unique"
        elif kind is FaultKind.BATCH_INVALID:
            code, message = "invalid_json_line", "a line is not parseable as valid JSON"
        elif most is not None and queued + batch.tokens > most:
            code = "token_limit_exceeded"
            message = f"Enqueued token limit reached for the model: {most}"
        if code:
            batch.status = "failed"
            batch.errors = [{"code": code, "message": message, "line": None, "param": None}]

    def _go_on(self, batch: Batch) -> None:
        if batch.status not in OPEN:
            return
        batch.status = "in_progress"
        fault = batch.fault
        seconds = self._state.batch_s
        if fault and fault.kind is FaultKind.BATCH_SLOW:
            seconds = fault.seconds
        if time.time() - batch.created < seconds:
            return
        if fault and fault.kind is FaultKind.BATCH_EXPIRED:
            self._answer(batch, len(batch.lines) // 2)
            batch.status = "expired"
        else:
            self._answer(batch, len(batch.lines))
            batch.status = "completed"

    def _answer(self, batch: Batch, lines: int) -> None:
        """Answer the first lines, and bill them; the others are listed as expired."""
        fault = batch.fault
        kind = fault.kind if fault else None
        output, errors = [], []
        for line in batch.lines[:lines]:
            asked = json.loads(line)
            poison = fault.text if fault and kind is FaultKind.BATCH_LINE_ERROR else ""
            if poison and any(poison in text for text in asked["body"]["input"]):
                errors.append(_line(asked["custom_id"], 400, refusals.poisoned().body()))
                continue
            request = read_request(json.dumps(asked["body"]).encode())
            body, answered = answers.write(request, None)
            self._state.ledger.billed(
                request.model, request.dimensions, request.texts[:answered], request.tokens
            )
            output.append(_line(asked["custom_id"], 200, body))
        batch.completed, batch.failed = len(output), len(errors)
        for line in batch.lines[lines:]:
            reason = {"code": "batch_expired", "message": "This request was not executed in time."}
            errors.append(_error(json.loads(line)["custom_id"], reason))
        if kind is FaultKind.BATCH_SHUFFLE:
            output.reverse()
        if kind is FaultKind.BATCH_DUPLICATE:
            output[1:1] = output[:1]
        batch.output_file_id = self._keep_lines(output)
        batch.error_file_id = self._keep_lines(errors)

    def _keep_lines(self, lines: list[bytes]) -> str | None:
        return self._keep(b"\n".join(lines) + b"\n", "batch_output") if lines else None

    def _keep(self, content: bytes, purpose: str) -> str:
        file_id = f"file-{uuid.uuid4().hex[:24]}"
        path = Path(self._folder.name, file_id)
        path.write_bytes(content)
        self._files[file_id] = Stored(path, purpose)
        return file_id

    def _file(self, file_id: str) -> Stored:
        if file_id not in self._files:
            raise refusals.Refused(404, f"No such File object: {file_id}", param="id")
        return self._files[file_id]

    def _batch(self, request: Request) -> Batch:
        batch_id = request.path_params["id"]
        if batch_id not in self._batches:
            raise refusals.Refused(404, f"No batch found with id '{batch_id}'.")
        return self._batches[batch_id]


def _line(custom_id: str, status: int, body: object) -> bytes:
    """A line of results; ``body`` is JSON already where it is bytes."""
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (
        b'{"id":"batch_req_%b","custom_id":"%b","response":{"status_code":%d,"request_id":"r",'
        b'"body":%b},"error":null}'
        % (uuid.uuid4().hex.encode(), custom_id.encode(), status, written)
    )


def _error(custom_id: str, reason: dict[str, str]) -> bytes:
    line = {"id": "batch_req", "custom_id": custom_id, "response": None, "error": reason}
    return json.dumps(line).encode()


def _parts(body: bytes, content_type: str) -> dict[str, bytes]:
    """The parts of a multipart form, by name."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    return dict(_split(body, b"--" + boundary))


def _split(body: bytes, mark: bytes) -> Iterator[tuple[str, bytes]]:
    start = body.find(mark)
    while start >= 0:
        end = body.find(mark, start + len(mark))
        if end < 0:
            return
        head, _, content = body[start + len(mark) : end].lstrip(b"\r\n").partition(b"\r\n\r\n")
        yield head.partition(b'name="')[2].partition(b'"')[0].decode(), content[:-2]
        start = end
