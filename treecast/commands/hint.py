"""`treecast hint`: a program that knows what it changed says so; no watcher is needed then."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from treecast.plain_help import PlainCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)

TIMEOUT_SECONDS = 600.0
AT_ONCE_PATHS = 10_000


@app.command(cls=PlainCommand, epilog="Example: find new -type f -print0 | treecast hint -0 -")
def hint(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="What changed, in the tree or absolute; a directory: all below it; -: read them.",
        ),
    ],
    is_zero: Annotated[
        bool, typer.Option("-0", "--null", help="Paths that are read end with NUL, not with a new line.")
    ] = False,
    tree: Annotated[str, typer.Option(metavar="TREE", help="Default: the one tree that is produced here.")] = "",
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="The producer's state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Say which paths changed, and return when what is there is in the journal: then it will be published, whatever fails.

    Paths that did not change cost one look each.

    Exit code: 0 done; 1 some of them cannot be carried, or the producer does not get to it; 3 no producer answers.
    """
    from treecast.commands.replica import producer_of
    from treecast.commands.wait import encoded, looked

    told = _from_input(is_zero) if paths == ["-"] else paths
    client, until = producer_of(state, tree), time.monotonic() + TIMEOUT_SECONDS
    tickets = [
        client.ask("hint-begin", paths=encoded(told[start : start + AT_ONCE_PATHS]))["ticket"]
        for start in range(0, len(told), AT_ONCE_PATHS)
    ]
    found = [looked(client, ticket, until) for ticket in tickets]
    failed = [path for one in found for path in one["problems"]]
    is_done = all(one["is_done"] for one in found)
    if as_json:
        typer.echo(json.dumps({"paths": len(told), "is_done": is_done, "problems": failed}, indent=2))
    elif not is_done:
        typer.echo("treecast: the producer did not get to it; see: treecast status", err=True)
    for path in [] if as_json else failed:
        typer.echo(f"treecast: {path} cannot be carried; see: treecast status --problems", err=True)
    raise typer.Exit(1 if failed or not is_done else 0)


def _from_input(is_zero: bool) -> list[str]:
    given = sys.stdin.buffer.read()
    return [os.fsdecode(one) for one in given.split(b"\0" if is_zero else b"\n") if one]
