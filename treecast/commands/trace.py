"""`treecast trace`: what became of one path, and who has it."""

import json
import os
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.control import ControlClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

CHANGES = 10


@app.command(
    cls=PlainCommand,
    short_help="Show what became of a path, and who has it.",
    epilog="Example: treecast trace playlists/summer.m3u",
)
def trace(
    path: Annotated[str, typer.Argument(metavar="PATH", help="In the tree, as in a/b, or absolute below the source.")],
    newest: Annotated[int, typer.Option("-n", metavar="N", help="The newest N changes.")] = CHANGES,
    tree: Annotated[str, typer.Option(metavar="TREE", help="Default: the one tree that is produced here.")] = "",
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="The producer's state directory.")] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Ask a producer elsewhere: http://HOST:PORT of its --listen.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show what became of a path, one that is gone too: its last changes, newest last, and who has each.

    Of each change: when it was numbered, how long before that it was seen, when the broker had it, and which replicas have not.
    Of the path: what is published of it, and whether it waits, is held, is excluded (by which pattern) or has a problem.

    Without a running producer its journal tells the changes alone.
    """
    from treecast import trace_page
    from treecast.moments import clock_time, exact_time

    found = _asked_there(url, path, newest) if url else _asked_here(state, tree, path, newest)
    typer.echo(json.dumps(found, indent=2) if as_json else trace_page.page(found, exact_time, clock_time))


def _asked_there(url: str, path: str, newest: int) -> dict[str, Any]:
    from urllib.parse import quote

    from treecast.asking import fetched

    return fetched(url, f"/trace?path={quote(os.fsencode(path))}&n={newest}")


def _asked_here(state: Path | None, tree: str, path: str, newest: int) -> dict[str, Any]:
    client = _running(state, tree)
    if client is not None:
        return client.ask("trace", path=b64encode(os.fsencode(path)).decode(), n=newest)
    from producer.trace_orders import checked_count, told_by_journal
    from treecast.commands.log import tree_path
    from treecast.journals import find_journal

    wanted, count = tree_path(path), checked_count(newest)
    journal = find_journal(state, tree or os.environ.get("TREECAST_TREE") or None, os.environ, command="trace")
    return told_by_journal(journal, wanted, count)


def _running(state: Path | None, tree: str) -> "ControlClient | None":
    """The producer that is meant, if it runs."""
    from common.control import is_answering
    from common.errors import UnreachableError
    from treecast.commands.replica import producer_of

    try:
        client = producer_of(state, tree)
    except UnreachableError:
        return None
    return client if is_answering(client.state) else None
