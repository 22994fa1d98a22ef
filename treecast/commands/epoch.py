"""`treecast epoch`: the epoch of a producer of this machine, and the word of a person that a new one is to begin."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.control import ControlClient

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    epilog="Example: treecast epoch start --state /var/lib/treecast/playlists/producer",
)

State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The producer's state directory; default: that of the one here."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.callback()
def epoch() -> None:
    """Show the epoch of the producer here, and begin a new one.

    An epoch is one run of one producer: replicas follow the highest, and refuse what a lower one says. A producer that cannot
    vouch for its journal compares with a replica first; where too much differs it publishes nothing, and waits for a person.
    """


@app.command(
    cls=PlainCommand, short_help="Say which epoch it is, and who leads.", epilog="Example: treecast epoch show"
)
def show(state: State = None, as_json: AsJson = False) -> None:
    """Say which epoch it is, since when, whether the journal is vouched for, who leads, and which replicas report a fork.

    Without a running producer: what its journal says.
    """
    from producer.epoch_orders import told_by
    from treecast.epoch_page import page

    client, journal = _found(state)
    told = client.ask("epoch-show") if client is not None else told_by(journal)
    typer.echo(json.dumps(told, indent=2) if as_json else page(told, _stamp(told.get("since"))))


@app.command(
    cls=PlainCommand,
    short_help="Begin a new epoch, from the source as it is.",
    epilog="Example: treecast epoch start --take-over",
)
def start(
    state: State = None,
    *,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Publish in the place of another producer that leads the tree.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a new epoch, from the source as it is: it is right, whatever replicas hold.

    Where the producer waits with a comparison, it goes on. Where a replica reports a fork, that is healed. Where another
    producer leads, --take-over publishes in its place: it ends by itself. Without a running producer the next one does it.
    """
    from producer.epoch_orders import leave_wish
    from treecast.epoch_page import WORDS

    client, journal = _found(state)
    if client is not None:
        done = client.ask("epoch-start", take_over=take_over)
    else:
        done = {"done": "noted", **leave_wish(journal, take_over=take_over)}
    typer.echo(json.dumps(done, indent=2) if as_json else WORDS[done["done"]])


def _found(state: Path | None) -> "tuple[ControlClient | None, Path]":
    """Who is asked: the producer, or, where none runs, its journal."""
    from common.control import ControlClient, is_answering
    from treecast.journals import find_journal

    journal = find_journal(state, os.environ.get("TREECAST_TREE") or None, os.environ, command="epoch show")
    return (ControlClient(journal.parent) if is_answering(journal.parent) else None), journal


def _stamp(unix_seconds: Any) -> str:
    """The time where we are, with its offset."""
    if not unix_seconds:
        return "not yet"
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone().isoformat(timespec="seconds")
