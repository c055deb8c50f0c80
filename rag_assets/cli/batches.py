"""``rag-assets batches``: verses that the provider embeds within a day, at half the price."""

from __future__ import annotations

from typing import Annotated

import typer

from rag_assets.cli.commands import Commands
from rag_assets.cli.opening import open_corpus
from rag_assets.cli.options import COUNT, Yes
from rag_assets.cli.output import (
    Json,
    errors_as_sentences,
    out,
    progress_bar,
    show_json,
    show_table,
)
from rag_assets.embedding import batch_lane
from rag_assets.embedding.sql import batches
from rag_assets.embedding.sql.batches import StoredBatch
from rag_assets.errors import ConfigurationError
from rag_assets.postgres.database import Connection
from rag_assets.visible import count

app = Commands(
    help="The provider's batches: list, cancel, give up.\n\n```\nrag-assets batches list\n```"
)

Number = Annotated[int, typer.Argument(help="The batch's number.", metavar="BATCH")]


@app.command("list")
def list_batches(
    limit: Annotated[int, typer.Option(**COUNT, help="Number of batches, the latest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the latest batches, as the provider last described them.

    ```
    rag-assets batches list --limit 5
    ```
    """
    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        with database.connect(autocommit=True) as connection:
            if settings.needs_key() and settings.api_keys():
                batch_lane.follow(connection, settings)
            found = batches.recent_batches(connection, limit)
    if as_json:
        show_json(found)
        return
    show_table(
        [
            {
                "batch": one.batch_id,
                "version": one.version_code,
                "state": one.state,
                "provider": one.provider or None,
                "texts": one.texts,
                "answered": one.completed,
                "due": one.due_at if one.closed_at is None else None,
                "note": one.message or None,
            }
            for one in found
        ],
        empty="no batch so far",
    )


@app.command()
def cancel(batch_id: Number, as_json: Json = False) -> None:
    """Cancel a batch. What is answered is kept and paid for; the rest is requested again.

    ```
    rag-assets batches cancel 3
    ```
    """
    with errors_as_sentences(as_json):
        settings, database = open_corpus()
        with database.connect(autocommit=True) as connection:
            found = _open(connection, batch_id)
            with progress_bar(quiet=as_json) as progress:
                batch_lane.cancel(connection, settings, found, progress)
            batch = batches.find_batch(connection, batch_id)
    if as_json:
        show_json(batch)
    elif batch is not None:
        out.print(f"batch {batch_id} is {batch.provider or batch.state}: the sensor "
                  "embedding_batches keeps what is answered", markup=False)  # fmt: skip


@app.command("give-up")
def give_up(batch_id: Number, yes: Yes = False, as_json: Json = False) -> None:
    """Stop following a batch whose key is gone: its texts are requested, and paid for, again.

    ```
    rag-assets batches give-up 3 --yes
    ```
    """
    with errors_as_sentences(as_json):
        _, database = open_corpus()
        with database.connect(autocommit=True) as connection:
            batch = _open(connection, batch_id)
            if not yes:
                typer.confirm(
                    f"Give up batch {batch_id}? Its {count(batch.texts, 'text')} must be paid for "
                    "again, and its answers are lost",
                    abort=True,
                )
            with progress_bar(quiet=as_json) as progress:
                freed = batch_lane.give_up(connection, batch, progress)
            _check_given_up(connection, batch_id)
    if as_json:
        show_json({"batch": batch_id, "freed": freed})
    else:
        out.print(f"batch {batch_id} is given up: {count(freed, 'text')} can be requested again")


def _check_given_up(connection: Connection, batch_id: int) -> None:
    """A run may have taken the batch in while this command waited for it."""
    batch = batches.find_batch(connection, batch_id)
    if batch is not None and batch.state != "given up":
        raise ConfigurationError(f"batch {batch_id} is {batch.state} already")


def _open(connection: Connection, batch_id: int) -> StoredBatch:
    batch = batches.find_batch(connection, batch_id)
    if batch is None:
        raise ConfigurationError(f"there is no batch {batch_id}: `rag-assets batches list`")
    if batch.closed_at is not None:
        raise ConfigurationError(f"batch {batch_id} is {batch.state} already")
    return batch
