"""``rag-assets documents``: the queue of documents: its state, and what an operator changes."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, get_args

import typer

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import corpus_connection, existing, open_document_corpus
from rag_assets.cli.options import DocumentCorpus, Limit, OfCorpus
from rag_assets.cli.output import (
    Json,
    err,
    errors_as_sentences,
    indented,
    out,
    plain,
    progress_bar,
    remark,
    show_json,
    show_record,
    show_table,
)
from rag_assets.documents.corpora import registered
from rag_assets.documents.inbox.adding import Adding, add_files
from rag_assets.documents.inbox.inbox import open_inbox
from rag_assets.documents.inbox.intake import take_in
from rag_assets.documents.report import losses, remarks_from, report_of
from rag_assets.documents.sql.documents import (
    Document,
    State,
    dead_by_class,
    list_documents,
)
from rag_assets.documents.sql.documents import retry as retry_dead
from rag_assets.documents.sql.lanes import pause_lane, resume_lane
from rag_assets.documents.sql.ordering import prioritize as prioritize_waiting
from rag_assets.documents.sql.withdrawal import withdraw as withdraw_documents
from rag_assets.errors import ConfigurationError
from rag_assets.lanes import DOCUMENT_LANES, LANES, PRIORITY_NAMES, known_lane
from rag_assets.operations.findings import span
from rag_assets.vectors.sql.tables import DOCUMENTS
from rag_assets.visible import count

app = Commands(
    help="Documents: add, scan, list, show, retry, withdraw, erase, prioritize, pause, dead "
    "letters.\n\n```\nrag-assets documents list\n```",
)

STATES: tuple[State, ...] = get_args(State)
LaneOption = Annotated[str | None, typer.Option(help=f"One of {', '.join(DOCUMENT_LANES)}.")]
LaneArgument = Annotated[str, typer.Argument(help=f"One of {', '.join(LANES)}.")]
Keys = Annotated[list[str], typer.Argument(help="Keys, from `rag-assets documents list`.")]


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files of the same name in the inbox.")
    ] = False,
    corpus: DocumentCorpus = DOCUMENTS,
    as_json: Json = False,
) -> None:
    """Copy documents into the inbox and put them into the queue.

    A folder is copied with its name and contents. A withdrawn document is restored.

    ```
    rag-assets documents add report.pdf
    rag-assets documents add samples/documents --replace
    ```
    """
    with errors_as_sentences(as_json), progress_bar(quiet=as_json) as progress:
        settings, database = open_document_corpus(corpus)
        adding = add_files(
            database, open_inbox(settings), settings, paths,
            corpus=corpus, replace=replace, progress=progress,
        )  # fmt: skip
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
            f"{count(len(adding.keys), 'document')} added to the queue. `rag-assets up` processes "
            "the queue, `rag-assets documents list` shows it"
        )


@app.command()
def scan(
    force: Annotated[
        bool, typer.Option("--force", help="If the inbox is empty, withdraw every document.")
    ] = False,
    corpus: DocumentCorpus = DOCUMENTS,
    as_json: Json = False,
) -> None:
    """Scan the inbox now, as the sensor does, for new, changed, renamed and removed files.

    ```
    rag-assets documents scan
    ```
    """
    with errors_as_sentences(as_json):
        settings, database = open_document_corpus(corpus)
        intake = take_in(database, open_inbox(settings), settings, corpus=corpus, force=force)
    if as_json:
        shown = dataclasses.asdict(intake)
        del shown["cursor"], shown["new_keys"]
        show_json(shown)
        return
    for sentence in intake.remarks:
        remark(sentence)
    out.print(str(intake), markup=False)


@app.command("list")
def list_all(
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    lane: LaneOption = None,
    corpus: OfCorpus = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List documents in the order in which they arrived, with their state.

    ```
    rag-assets documents list
    rag-assets documents list --state dead --lane rag_large_docs
    ```
    """
    with errors_as_sentences(as_json):
        wanted = _state(state)
        chosen = known_lane(lane, DOCUMENT_LANES) if lane is not None else None
        with corpus_connection() as (_, connection):
            corpora = None if corpus is None else (registered(connection, corpus).corpus,)
            found = list_documents(
                connection, state=wanted, lane=chosen, limit=limit, corpora=corpora
            )
    if as_json:
        show_json([_described(document) for document in found])
        return
    show_table([_row(document) for document in found], empty="no document")
    if len(found) == limit:
        err.print(f"[dim]these are the first {limit}: --limit N shows more[/dim]")


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="Its key, from `rag-assets documents list`.")],
    as_json: Json = False,
) -> None:
    """Show everything about a document: state, run, attempts, error, and its report.

    ```
    rag-assets documents show report.pdf
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        (document,) = existing(connection, [key])
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
        str | None, typer.Option("--class", help="All whose error is of this class.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    as_json: Json = False,
) -> None:
    """Put dead letters back into the queue, with all their attempts.

    ```
    rag-assets documents retry report.pdf
    rag-assets documents retry --class CorruptDocumentError
    ```
    """
    with errors_as_sentences(as_json):
        if bool(keys) + bool(error_class) + everything != 1:
            raise ConfigurationError("name the documents: keys, --class CLASS, or --all")
        with corpus_connection() as (_, connection):
            chosen = existing(connection, keys) if keys else ()
            classes = dead_by_class(connection)
            if error_class and error_class not in classes:
                there = ", ".join(classes) or "none"
                raise ConfigurationError(f"no dead letter is {error_class}: there are {there}")
            back = retry_dead(connection, keys=keys or None, error_class=error_class)
    for document in chosen:
        if document.state != "dead":
            err.print(f"{document.key} is not a dead letter: it is {document.state}", markup=False)
    _show_count(back, "put back into the queue", as_json=as_json)


@app.command()
def withdraw(keys: Keys, as_json: Json = False) -> None:
    """Remove documents from search immediately. Their files in the inbox stay.

    A withdrawn document is restored when its file changes, is removed and dropped again, or is
    passed to `rag-assets documents add`. After RAG_DOCUMENTS_KEEP_DAYS it is deleted.

    ```
    rag-assets documents withdraw report.pdf
    ```
    """
    with errors_as_sentences(as_json), corpus_connection() as (_, connection):
        found = existing(connection, keys)
        gone = withdraw_documents(connection, keys, by="command")
    for document in found:
        if document.key not in gone:
            err.print(f"{document.key} was already withdrawn", markup=False)
    _show_count(len(gone), "withdrawn", as_json=as_json)


@app.command()
def prioritize(
    oldest_first: Annotated[
        bool, typer.Option("--oldest-first", help="Choose those that have waited longest.")
    ] = False,
    limit: Limit = 100,
    lane: LaneOption = None,
    as_json: Json = False,
) -> None:
    """Process documents before all others in their lanes.

    ```
    rag-assets documents prioritize --oldest-first --limit 100
    ```
    """
    with errors_as_sentences(as_json):
        if not oldest_first:
            raise ConfigurationError("choose the documents: --oldest-first, with --limit N")
        chosen = known_lane(lane, DOCUMENT_LANES) if lane is not None else None
        with corpus_connection() as (_, connection):
            first = prioritize_waiting(connection, limit=limit, lane=chosen)
    _show_count(first, "moved to the front", as_json=as_json)


@app.command()
def dlq(limit: Limit = 100, as_json: Json = False) -> None:
    """List dead letters, documents that could not be processed, with the reason and the fix.

    ```
    rag-assets documents dlq
    ```
    """
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
            indented(plain(document.error or ""), 2),
            sep="\n",
        )
    show_table(
        [{"class": name, "documents": dead_letters} for name, dead_letters in classes.items()],
        empty="no dead letter",
    )
    if classes:
        out.print()
        out.print("`rag-assets documents retry KEY`, `--class CLASS` or `--all` puts them back")


@app.command()
def pause(
    lane: LaneArgument,
    reason: Annotated[str, typer.Option(help="The reason, which the doctor shows.")] = "",
    as_json: Json = False,
) -> None:
    """Start no further run from a lane. Current runs continue.

    The lane stays paused until `rag-assets documents resume`.

    ```
    rag-assets documents pause rag_large_docs --reason "maintenance"
    ```
    """
    with errors_as_sentences(as_json):
        chosen = known_lane(lane, LANES)
        with corpus_connection() as (_, connection):
            pause_lane(connection, chosen, reason, "command")
    _show_lane(lane, paused=True, as_json=as_json)


@app.command()
def resume(lane: LaneArgument, as_json: Json = False) -> None:
    """Start runs from a paused lane again.

    ```
    rag-assets documents resume rag_large_docs
    ```
    """
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
        out.print(f"{lane}: {'paused' if paused else 'resumed'}")


def _state(name: str | None) -> State | None:
    if name is None or name in STATES:
        return name
    raise ConfigurationError(f"there is no state {name}: it is one of {', '.join(STATES)}")


def _show_count(documents: int, done: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"documents": documents})
    else:
        out.print(f"{count(documents, 'document')} {done}")


def _described(document: Document) -> dict[str, object]:
    """Every field, as shown and as JSON."""
    described = dataclasses.asdict(document)
    del described["document_id"], described["remarks"]
    report = report_of(document)
    described["report"] = dataclasses.asdict(report) if report else None
    described["priority"] = PRIORITY_NAMES[document.priority]
    for name in ("content_hash", "stored_hash"):
        described[name] = value.hex() if (value := described[name]) is not None else None
    return described


def _row(document: Document) -> dict[str, object]:
    return {
        "document": document.key,
        "state": document.state,
        "since": _since(document),
        "lane": document.lane,
        "priority": PRIORITY_NAMES[document.priority],
        "kB": -(-document.bytes // 1024),
        "chunks": document.chunks,
        "losses": report_of(document) and losses(remarks_from(document.remarks)),
        "attempts": document.attempts,
        "error": document.error_class,
    }


def _since(document: Document) -> str:
    """How long it has been in its state, or how soon it is retried."""
    now = datetime.now(UTC)
    if document.state == "waiting" and document.not_before and document.not_before > now:
        return f"retry in {span((document.not_before - now).total_seconds())}"
    began = {
        "running": document.started_at,
        "ready": document.ended_at,
        "dead": document.ended_at,
        "withdrawn": document.withdrawn_at,
    }.get(document.state) or document.queued_at
    return span(max(0, (now - began).total_seconds()))
