"""``rag-assets documents``: what was dropped, how far it is, and what people order."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, get_args

import typer

from rag_assets.cli.opening import corpus_connection, open_corpus
from rag_assets.cli.options import COUNT
from rag_assets.cli.output import (
    Json,
    err,
    errors_as_sentences,
    out,
    plain,
    progress_bar,
    remark,
    show_json,
    show_record,
    show_table,
)
from rag_assets.documents.inbox.adding import Adding, add_files
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import Intake, take_in
from rag_assets.documents.report import remarks_from, report_of
from rag_assets.documents.sql.documents import (
    Document,
    State,
    dead_by_class,
    find_documents,
    list_documents,
    nearest_keys,
)
from rag_assets.documents.sql.documents import prioritize as prioritize_waiting
from rag_assets.documents.sql.documents import retry as retry_dead
from rag_assets.documents.sql.lanes import pause_lane, resume_lane
from rag_assets.documents.sql.withdrawal import withdraw as withdraw_documents
from rag_assets.errors import ConfigurationError
from rag_assets.lanes import DOCUMENT_LANES, LANES, PRIORITY_NAMES, known_lane
from rag_assets.postgres.database import Connection

app = typer.Typer(
    no_args_is_help=True,
    help="Documents: add, scan, list, show, retry, withdraw, prioritize, pause, dead letters.",
)

STATES: tuple[State, ...] = get_args(State)
LaneOption = Annotated[str | None, typer.Option(help=f"One of {', '.join(DOCUMENT_LANES)}.")]
LaneArgument = Annotated[str, typer.Argument(help=f"One of {', '.join(LANES)}.")]
Keys = Annotated[list[str], typer.Argument(help="Keys, as `rag-assets documents list` shows them.")]


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files of the same name in the inbox.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy documents into the inbox and put them into the queue.

    A folder keeps its name and what is in it. A document that was withdrawn is brought back.
    """
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_corpus()
        adding = add_files(
            database, open_inbox(settings), settings, paths, replace=replace, progress=progress
        )
    if as_json:
        show_json(adding)
    else:
        _show_added(adding)
    raise typer.Exit(1 if adding.refused else 0)


def _show_added(adding: Adding) -> None:
    show_table(
        [{"document": key, "path": path} for path, key in adding.keys.items()],
        empty="nothing was added",
    )
    for path, reason in adding.refused.items():
        err.print(f"[red]not added:[/red] {plain(path)}: {plain(reason)}")
    if adding.keys:
        out.print()
        out.print(
            f"{len(adding.keys)} in the queue: `rag-assets up` processes them, "
            "`rag-assets documents list` shows how far they are"
        )


@app.command()
def scan(
    force: Annotated[
        bool, typer.Option("--force", help="Withdraw every document if the inbox is empty.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at the inbox now, as the sensor does: what is new, changed, renamed or gone."""
    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        intake = take_in(database, open_inbox(settings), settings, force=force)
    if as_json:
        shown = dataclasses.asdict(intake)
        del shown["cursor"], shown["new_keys"]
        show_json(shown)
        return
    _show_intake(intake)


def _show_intake(intake: Intake) -> None:
    for sentence in intake.remarks:
        remark(sentence)
    out.print(str(intake), markup=False)


@app.command("list")
def list_all(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    lane: LaneOption = None,
    limit: Annotated[int, typer.Option(**COUNT, help="How many at most.")] = 100,
    as_json: Json = False,
) -> None:
    """Documents in the order of their drop, and how far each one is."""
    with errors_as_sentences(as_json):
        wanted = _state(state)
        chosen = known_lane(lane, DOCUMENT_LANES) if lane is not None else None
        with corpus_connection() as (_, connection):
            found = list_documents(connection, state=wanted, lane=chosen, limit=limit)
    if as_json:
        show_json([_described(document) for document in found])
        return
    show_table([_row(document) for document in found], empty="no document")
    if len(found) == limit:
        err.print(f"[dim]the first {limit}: --limit shows more[/dim]")


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="Its key.")],
    as_json: Json = False,
) -> None:
    """All that is known of one document: state, run, attempts, error, what is not in its text."""
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        (document,) = _found(connection, [key])
    described = _described(document)
    if as_json:
        show_json(described)
        return
    del described["report"]
    show_record({name: value for name, value in described.items() if value is not None})
    for remark_on_text in remarks_from(document.remarks):
        out.print(f"  {remark_on_text}", markup=False)


@app.command()
def retry(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of dead documents.")] = None,
    error_class: Annotated[
        str | None, typer.Option("--class", help="All with this class of error.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    as_json: Json = False,
) -> None:
    """Put dead letters back into the queue, with all their attempts."""
    with errors_as_sentences(as_json):
        if bool(keys) + bool(error_class) + everything != 1:
            raise ConfigurationError("say which: keys, --class CLASS, or --all")
        with corpus_connection() as (_, connection):
            chosen = _found(connection, keys) if keys else ()
            classes = dead_by_class(connection)
            if error_class and error_class not in classes:
                raise ConfigurationError(
                    f"no dead letter is of the class {error_class}: there are "
                    f"{', '.join(classes) or 'none at all'}"
                )
            back = retry_dead(connection, keys=keys or None, error_class=error_class)
    for document in chosen:
        if document.state != "dead":
            err.print(f"{document.key} is {document.state}, no dead letter", markup=False)
    _show_count(back, "in the queue again", as_json=as_json)


@app.command()
def withdraw(keys: Keys, as_json: Json = False) -> None:
    """Take documents out of search at once; the files in the inbox stay.

    A withdrawn document comes back when its file is changed, or removed and dropped again, or
    given to `rag-assets documents add`. After RAG_DOCUMENTS_KEEP_DAYS it is deleted for good.
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        found = _found(connection, keys)
        gone = withdraw_documents(connection, keys, by="command")
    for document in found:
        if document.key not in gone:
            err.print(f"{document.key} was withdrawn already", markup=False)
    _show_count(len(gone), "withdrawn", as_json=as_json)


@app.command()
def prioritize(
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Those that have waited longest.")
    ] = False,
    limit: Annotated[int, typer.Option(**COUNT, help="How many.")] = 100,
    lane: LaneOption = None,
    as_json: Json = False,
) -> None:
    """Let documents go before all others in their lanes."""
    with errors_as_sentences(as_json):
        if not oldest_first:
            raise ConfigurationError("say which: --oldest-first, with --limit 100")
        chosen = known_lane(lane, DOCUMENT_LANES) if lane is not None else None
        with corpus_connection() as (_, connection):
            first = prioritize_waiting(connection, limit=limit, lane=chosen)
    _show_count(first, "go first", as_json=as_json)


@app.command()
def dlq(
    limit: Annotated[int, typer.Option(**COUNT, help="How many at most.")] = 100,
    as_json: Json = False,
) -> None:
    """The dead letters: documents on which work has ended, why, and what to do."""
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        classes = dead_by_class(connection)
        dead = list_documents(connection, state="dead", limit=limit)
    if as_json:
        show_json({"classes": classes, "documents": [_described(document) for document in dead]})
        return
    for document in dead:
        out.print(
            f"[bold]{plain(document.key)}[/bold] {document.error_class}, "
            f"attempts: {document.attempts}",
            f"  {plain(document.error or '')}",
            sep="\n",
        )
    show_table(
        [{"class": name, "documents": count} for name, count in classes.items()],
        empty="no dead letter",
    )
    if classes:
        out.print()
        out.print("`rag-assets documents retry KEY`, `--class CLASS` or `--all` puts them back")


@app.command()
def pause(
    lane: LaneArgument,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "by command",
    as_json: Json = False,
) -> None:
    """Start no run from a lane until it is resumed; runs at work go on.

    Nothing resumes it by itself.
    """
    with errors_as_sentences(as_json):
        chosen = known_lane(lane, LANES)
        with corpus_connection() as (_, connection):
            pause_lane(connection, chosen, reason, "command")
    _show_lane(lane, paused=True, as_json=as_json)


@app.command()
def resume(
    lane: LaneArgument,
    as_json: Json = False,
) -> None:
    """Start runs from a lane again, whoever has paused it."""
    with errors_as_sentences(as_json):
        chosen = known_lane(lane, LANES)
        with corpus_connection() as (_, connection):
            was_paused = resume_lane(connection, chosen, "command")
    if not was_paused:
        err.print(f"{lane} was not paused", markup=False)
    _show_lane(lane, paused=False, as_json=as_json)


def _show_lane(lane: str, *, paused: bool, as_json: bool) -> None:
    if as_json:
        show_json({"lane": lane, "paused": paused})
    else:
        out.print(f"{lane}: {'paused' if paused else 'runs are started'}")


def _state(name: str | None) -> State | None:
    if name is None or name in STATES:
        return name
    raise ConfigurationError(f"there is no state {name}: it is one of {', '.join(STATES)}")


def _found(connection: Connection, keys: Sequence[str]) -> tuple[Document, ...]:
    """The documents of these keys.

    :raises ConfigurationError: one does not exist; the nearest are named.
    """
    found = find_documents(connection, keys)
    for key in keys:
        if key not in {document.key for document in found}:
            near = nearest_keys(connection, key)
            also = (
                f"did you mean {', '.join(near)}?"
                if near
                else "`rag-assets documents list` shows which there are"
            )
            raise ConfigurationError(f"there is no document {key}: {also}")
    return found


def _show_count(documents: int, done: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"documents": documents})
    else:
        out.print(f"{documents:,} {done}")


def _described(document: Document) -> dict[str, object]:
    """Everything, for a person or a program."""
    described = dataclasses.asdict(document)
    del described["document_id"], described["remarks"]
    report = report_of(document)
    described["report"] = dataclasses.asdict(report) if report else None
    described["priority"] = PRIORITY_NAMES[document.priority]
    for name in ("content_hash", "stored_hash"):
        value = described[name]
        described[name] = value.hex() if value is not None else None
    return described


def _row(document: Document) -> dict[str, object]:
    return {
        "document": document.key,
        "state": document.state,
        "since": _since(document),
        "lane": document.lane,
        "priority": PRIORITY_NAMES[document.priority],
        "kB": document.bytes / 1024,
        "chunks": document.chunks,
        "attempts": document.attempts,
        "error": document.error_class,
    }


def _since(document: Document) -> str:
    """How long it has been in its state, or how soon it is tried again."""
    now = datetime.now(UTC)
    if document.state == "waiting" and document.not_before and document.not_before > now:
        return f"again in {_span((document.not_before - now).total_seconds())}"
    began = {
        "running": document.started_at,
        "ready": document.ended_at,
        "dead": document.ended_at,
        "withdrawn": document.withdrawn_at,
    }.get(document.state) or document.queued_at
    return _span((now - began).total_seconds())


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
