"""`treecast hint`: a program that knows what it changed says so; no watcher is needed then."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from treecast.commands.wait import TIMEOUT, Timeout
from treecast.plain_help import PlainCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(
    cls=PlainCommand,
    short_help="Say which paths changed; no watcher is needed then.",
    epilog="Example: find /srv/playlists/new -type f -print0 | treecast hint -0 -",
)
def hint(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="What changed: a path in the tree, wherever you are, or absolute; a directory: all below it; -: read them.",
        ),
    ],
    is_zero: Annotated[
        bool, typer.Option("-0", "--null", help="Paths that are read end with NUL, not with a new line.")
    ] = False,
    timeout: Timeout = TIMEOUT,
    tree: Annotated[str, typer.Option(metavar="TREE", help="Default: the one tree that is produced here.")] = "",
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="The producer's state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say which paths changed, and return when what is there is in the journal: then it will be published, whatever fails.

    Paths that did not change cost one look each; those that are neither there nor known are counted on standard error. While the
    broker is away nothing is journaled; when time is up, a line says what the master waits for, and it goes on by itself.

    Exit code: 0 done; 1 some of them cannot be carried, or time is up; 3 no producer answers.
    """
    from treecast.commands.replica import producer_of
    from treecast.commands.wait import at_once, encoded, given_seconds, looked, unknown_in

    began, limit_seconds = time.monotonic(), given_seconds(timeout)
    told = _from_input(is_zero) if paths == ["-"] else paths
    client = producer_of(state, tree)
    unknown = unknown_in(client, told, is_said=not as_json)
    tickets = [client.ask("hint-begin", paths=encoded(one))["ticket"] for one in at_once(told)]
    found = [looked(client, ticket, began + limit_seconds) for ticket in tickets]
    failed = [path for one in found for path in one["problems"]]
    late = next((one for one in found if not one["is_done"]), None)
    if as_json:
        typer.echo(json.dumps(_told(len(told), unknown, failed, late), indent=2))
    else:
        _say(failed, late, time.monotonic() - began)
    raise typer.Exit(1 if failed or late is not None else 0)


def _told(paths: int, unknown: int, failed: list[str], late: dict[str, Any] | None) -> dict[str, Any]:
    waits_for = "" if late is None else late["waits_for"]
    return {"paths": paths, "unknown": unknown, "is_done": late is None, "waits_for": waits_for, "problems": failed}


def _say(failed: list[str], late: dict[str, Any] | None, seconds: float) -> None:
    from treecast.moments import clock_time
    from treecast.wait_page import line

    if late is not None:
        typer.echo(f"treecast: {line(late, seconds, clock_time)}; see: treecast status", err=True)
    for path in failed:
        typer.echo(f"treecast: {path} cannot be carried; see: treecast status --problems", err=True)


def _from_input(is_zero: bool) -> list[str]:
    given = sys.stdin.buffer.read()
    return [os.fsdecode(one) for one in given.split(b"\0" if is_zero else b"\n") if one]
