"""`treecast hold`: what a running producer or consumer holds, and the word of a person that it is meant."""

import json
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
    epilog="Example: treecast hold release --state /var/lib/treecast/playlists/producer",
)

LINES = 1000
_PAGE = 10_000

State = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The process's state directory; default: the one that holds something here."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.callback(short_help="Show deletes that are held, and let them go.")
def hold() -> None:
    """Show deletes that are held because there were too many, and let them go.

    A hold ends when the files are back, or when a person releases it. Everything else flows meanwhile.
    """


@app.command("list", cls=PlainCommand, epilog="Example: treecast hold list")
def list_(state: State = None, as_json: AsJson = False) -> None:
    """Say how many deletes are held, since when, and what the limit is.

    Without --state: of each producer and consumer that you run here.
    """
    from treecast.hold_page import summary

    told = [one for _, one in _all_asked(state)]
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for one in told:
        typer.echo(summary(one, _stamp(one.get("since"))))


@app.command(
    cls=PlainCommand,
    short_help="Print the paths whose delete is held, one a line.",
    epilog="Example: treecast hold show -n 20 playlists/summer",
)
def show(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="In the tree, as in a/b; a directory: all below it too.")
    ] = "",
    number: Annotated[
        int, typer.Option("-n", metavar="N", help=f"The first N paths, else {LINES}; 0: all.", show_default=False)
    ] = LINES,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print the paths whose delete is held, one a line, unprintable bytes escaped."""
    client, told = _the_one(state)
    paths = _paths(client, path, number)
    if as_json:
        typer.echo(json.dumps({**told, "paths": paths}, indent=2))
        return
    for one in paths:
        typer.echo(one)
    if number and len(paths) == number < told["held"]:
        typer.echo(f"treecast: the first {number:,} of {told['held']:,}; with -n 0 all", err=True)


@app.command(cls=PlainCommand, epilog="Example: treecast hold release")
def release(state: State = None, as_json: AsJson = False) -> None:
    """Let what is held go: it is meant.

    On the master one release serves every replica. An empty source that nothing is published of is taken for emptied on purpose.
    """
    from treecast.hold_page import release_words

    client, _ = _the_one(state)
    done = client.ask("hold-release")
    typer.echo(json.dumps(done, indent=2) if as_json else release_words(done))


def _stamp(unix_seconds: float | None) -> str:
    """The time where we are, with its offset."""
    if unix_seconds is None:
        return "a while ago"
    return datetime.fromtimestamp(unix_seconds, UTC).astimezone().isoformat(timespec="seconds")


def _all_asked(state: Path | None) -> "list[tuple[ControlClient, dict[str, Any]]]":
    """The processes that run here and answer, and what each holds."""
    from treecast.asking import all_told

    return all_told(state, "", _asked).answers


def _asked(client: "ControlClient") -> dict[str, Any]:
    status = client.ask("status")
    names = {name: status.get(name) for name in ("role", "tree", "replica", "alarms")}
    return {**names, "state_directory": str(client.state), **client.ask("hold-list")}


def _the_one(state: Path | None) -> "tuple[ControlClient, dict[str, Any]]":
    """The process that holds something; where none does, the producer. Raises SettingError where it could be several."""
    from common.errors import SettingError
    from treecast.hold_page import chosen

    asked = _all_asked(state)
    found = chosen([told for _, told in asked])
    if len(found) != 1:
        several = ", ".join(asked[number][1]["state_directory"] for number in found or range(len(asked)))
        raise SettingError("--state", "several processes", f"one of {several}")
    return asked[found[0]]


def _paths(client: "ControlClient", path: str, number: int) -> list[str]:
    found: list[str] = []
    after = None
    while not number or len(found) < number:
        wanted = min(number - len(found), _PAGE) if number else _PAGE
        told = client.ask("hold-show", path=path, number=wanted, after=after)
        found += told["paths"]
        after = told.get("after")
        if after is None:
            break
    return found
