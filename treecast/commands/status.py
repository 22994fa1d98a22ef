"""`treecast status`: asks the process that runs here how it is."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from treecast.plain_help import PlainCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(cls=PlainCommand, epilog="Example: treecast status --state /var/lib/treecast/playlists/producer")
def status(
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The process's state directory; default: those that you run here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs; of one process only.")] = False,
) -> None:
    """Show how the producer or consumer on this machine is doing.

    A mirror that follows is a producer and a consumer for each replica: all are shown.
    """
    from common.control import ControlClient
    from treecast.status_page import page

    told = (state, os.environ.get("TREECAST_TREE") or None, os.environ)
    if as_json:
        typer.echo(json.dumps(ControlClient.find(*told).ask("status"), indent=2))
        return
    typer.echo("\n\n".join(page(one.ask("status")) for _, one in ControlClient.find_all(*told)))
