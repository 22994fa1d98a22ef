"""`treecast replica`: who belongs to the fleet. Speaks to the producer of a tree."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.control import ControlClient
    from common.errors import SettingError

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    epilog="Example: treecast replica add fra7 -l region=eu > fra7.env",
)

Tree = Annotated[
    str, typer.Option(metavar="TREE", help="Whose fleet; default: that of the one producer that runs here.")
]
State = Annotated[Path | None, typer.Option(metavar="DIR", help="The producer's state directory, instead of --tree.")]
Url = Annotated[str, typer.Option(metavar="URL", help="Ask a producer elsewhere: http://HOST:PORT of its --listen.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Name = Annotated[str, typer.Argument(metavar="ID", help="The replica's name.")]
Select = Annotated[
    str, typer.Option("-l", "--label", metavar="LABELS", help="Only those with these labels: region=eu,role!=web.")
]


@app.callback(short_help="Say who belongs to the fleet; add one, or forget one.")
def replica() -> None:
    """Say who belongs to the fleet: who was added, or has ever reported, and was not forgotten.

    "Everyone" in status and wait means all of these.
    """


@app.command(cls=PlainCommand, epilog="Example: treecast replica add fra7 -l region=eu > fra7.env")
def add(
    name: Name,
    labels: Annotated[
        str, typer.Option("-l", "--label", metavar="LABELS", help="Its labels: region=eu,role=web.")
    ] = "",
    tree: Tree = "",
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Add a replica, and print the settings that its machine needs.

    Its queue keeps what is published from now on. Adding it again prints the same. The labels hold until the replica tells its
    own (TREECAST_LABELS, which is among the settings).
    """
    from common.errors import SettingError
    from common.labels import LABELS_ALLOWED, parse_labels
    from treecast.replica_page import environment

    try:
        wanted = parse_labels(labels)
    except ValueError as error:
        raise SettingError("--label", labels, LABELS_ALLOWED) from error
    client = producer_of(state, tree)
    added = client.ask("replica-add", name=name, labels=wanted)
    status = client.ask("status")
    typer.echo(json.dumps(added, indent=2) if as_json else environment(added, status["tree"], status["broker"]))


@app.command(cls=PlainCommand, epilog="Example: treecast replica forget fra7")
def forget(name: Name, tree: Tree = "", state: State = None, as_json: AsJson = False) -> None:
    """Take a replica out of the fleet, and delete its queue.

    Not while it speaks: stop it first. Its files are not touched.
    """
    done = producer_of(state, tree).ask("replica-forget", name=name)
    typer.echo(json.dumps(done, indent=2) if as_json else f"replica {name} is forgotten, and its queue deleted")


@app.command("list", cls=PlainCommand, epilog="Example: treecast replica list -l region=eu")
def list_(select: Select = "", tree: Tree = "", state: State = None, url: Url = "", as_json: AsJson = False) -> None:
    """List the replicas of the fleet, one a line.

    Name, how it stands, labels, when it spoke last.
    """
    from treecast.fleet_page import deaf_note
    from treecast.moments import clock_time
    from treecast.replica_page import listed

    fleet = fleet_at(url, select) if url else producer_of(state, tree).ask("fleet", select=select)
    if as_json:
        typer.echo(json.dumps(fleet["replicas"], indent=2))
        return
    if note := deaf_note(fleet, clock_time):
        typer.echo(f"treecast: {note}; this is as it was heard last", err=True)
    for line in listed(fleet["replicas"], clock_time):
        typer.echo(line)


def fleet_at(url: str, select: str) -> dict[str, Any]:
    """The fleet, out of the status of a producer elsewhere. Raises UnreachableError, SettingError."""
    from common.errors import UnreachableError
    from common.labels import parse_selector
    from treecast.asking import fetched
    from treecast.status_report import selected

    found = selected(fetched(url, "/status"), parse_selector(select, "-l"))
    if "replicas" not in found:
        raise UnreachableError(f"what answers at {url} is no producer: it knows no fleet")
    return found


def producer_of(state: Path | None, tree: str) -> "ControlClient":
    """The producer that is meant. Raises UnreachableError where none runs here, SettingError where it could be several."""
    from common.control import ControlClient
    from common.errors import UnreachableError

    if state is not None or os.environ.get("TREECAST_STATE"):
        return ControlClient.find(state, None, os.environ)
    tree = tree or os.environ.get("TREECAST_TREE", "")
    found = ControlClient.find_all(None, tree or None, os.environ)
    producers = [(name, client) for name, client in found if name.endswith(".producer")]
    if not producers:
        raise UnreachableError("no producer of this user runs here; ask beside the master, or: --state DIRECTORY")
    if len(producers) > 1:
        raise _several(producers)
    return producers[0][1]


def _several(producers: "list[tuple[str, ControlClient]]") -> "SettingError":
    """What tells them apart: their trees, or where two have one tree, their directories."""
    from common.errors import SettingError

    trees = [name.rpartition(".")[0] for name, _ in producers]
    if len(set(trees)) == len(trees):
        return SettingError("--tree", "several producers", f"one of {', '.join(trees)}")
    places = (f"{client.state} ({tree})" for tree, (_, client) in zip(trees, producers, strict=True))
    return SettingError("--state", "several producers", f"one of {', '.join(places)}")
