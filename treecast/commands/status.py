"""`treecast status`: asks the process that runs here how it is."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: treecast status --state /var/lib/treecast/playlists/producer")
def status(
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The process's state directory; default: the one that runs here.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Show how the producer or consumer on this machine is doing."""
    from common.control import ControlClient
    from treecast.status_page import page

    found = ControlClient.find(state, os.environ.get("TREECAST_TREE") or None, os.environ).ask("status")
    typer.echo(json.dumps(found, indent=2) if as_json else page(found))
