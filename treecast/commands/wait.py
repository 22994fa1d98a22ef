"""`treecast wait`: returns when everyone has what was changed on the master before the call."""

import json
import os
import time
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.control import ControlClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

AT_ONCE_PATHS = 10_000
NAMED = 3
LOOK_SECONDS = 0.02
LOOK_LIMIT_SECONDS = 0.25
TIMEOUT = "120s"
Timeout = Annotated[str, typer.Option(metavar="TIME", help="How long at most.")]


@app.command(
    cls=PlainCommand,
    short_help="Wait until the replicas have all that was changed before.",
    epilog="Example: treecast wait --replicas all --timeout 120",
)
def wait(  # noqa: PLR0913, PLR0917 - each is an option of its own
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Only what changed here and below: a path in the tree, wherever you are, or absolute; default: all.",
        ),
    ] = None,
    replicas: Annotated[
        str, typer.Option(metavar="all|K|ID,...", help="Who must have it: all, any K of them, or these.")
    ] = "all",
    select: Annotated[
        str,
        typer.Option("-l", "--label", metavar="LABELS", help="Only replicas with these labels: region=eu,role!=web."),
    ] = "",
    position: Annotated[
        str, typer.Option(metavar="EPOCH.SEQ", help="Wait for this position instead of all that happened until now.")
    ] = "",
    timeout: Timeout = TIMEOUT,
    is_patient: Annotated[
        bool, typer.Option("--patient", help="Wait too for replicas that are gone, and for a person who is needed.")
    ] = False,
    tree: Annotated[str, typer.Option(metavar="TREE", help="Default: the one tree that is produced here.")] = "",
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="The producer's state directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Wait until the replicas agree, durably, with all that was changed on the master before this call.

    For the end of a deploy script. Everything that was closed, renamed, linked, removed or chmod-ed before counts; nothing else
    is waited for.

    Exit code: 0 they have it; 1 they do not: time is up, one that is needed is gone, or a path there cannot be carried (mend or
    exclude it); 4 a person is needed, as for deletes that are held; 3 no producer answers.
    """
    from treecast.commands.replica import producer_of
    from treecast.moments import clock_time
    from treecast.wait_page import exit_code, line

    began = time.monotonic()
    client = producer_of(state, tree)
    asked = {
        **_whom(replicas),
        "select": select,
        "patient": is_patient,
        "paths": encoded(paths or []),
        **_where(position),
    }
    unknown = unknown_in(client, paths or [], is_said=not as_json)
    found = looked(client, client.ask("wait-begin", **asked)["ticket"], began + given_seconds(timeout))
    seconds = round(time.monotonic() - began, 3)
    told = {**found, "unknown": unknown, "seconds": seconds}
    typer.echo(json.dumps(told, indent=2) if as_json else line(found, seconds, clock_time))
    raise typer.Exit(exit_code(found))


def looked(client: "ControlClient", ticket: int, until: float) -> dict[str, Any]:
    """What became of it: done, hopeless, or as it stands when time is up (seconds of the monotonic clock)."""
    pause_seconds = LOOK_SECONDS
    while True:
        found = client.ask("wait-look", ticket=ticket)
        left_seconds = until - time.monotonic()
        if found["is_done"] or found["why"] or left_seconds <= 0:
            return found
        time.sleep(min(pause_seconds, max(0.0, left_seconds)))
        pause_seconds = min(LOOK_LIMIT_SECONDS, pause_seconds * 1.1)


def given_seconds(timeout: str) -> float:
    """What --timeout says. Raises SettingError."""
    from common.errors import SettingError
    from common.quantities import TIMES_ALLOWED, parse_seconds

    try:
        return parse_seconds(timeout)
    except ValueError as error:
        raise SettingError("--timeout", timeout, TIMES_ALLOWED) from error


def encoded(paths: list[str]) -> list[str]:
    """Paths for the control socket, which speaks JSON: any bytes; relative ones as they are."""
    return [b64encode(os.fsencode(path)).decode() for path in paths]


def unknown_in(client: "ControlClient", paths: list[str], *, is_said: bool) -> int:
    """How many of these paths are neither in the source nor known; said on standard error, since they may be meant otherwise."""
    told = [client.ask("paths-unknown", paths=encoded(one)) for one in at_once(paths)]
    count = sum(int(one["unknown"]) for one in told)
    named = [path for one in told for path in one["named"]]
    if count and is_said:
        more = ", ..." if count > len(named[:NAMED]) else ""
        typer.echo(
            f"treecast: {count:,} of {len(paths):,} paths neither there nor known: {', '.join(named[:NAMED])}{more};"
            " a PATH is in the tree, or absolute",
            err=True,
        )
    return count


def at_once(paths: list[str]) -> list[list[str]]:
    """So many as one question may have."""
    return [paths[start : start + AT_ONCE_PATHS] for start in range(0, len(paths), AT_ONCE_PATHS)]


def _whom(replicas: str) -> dict[str, Any]:
    from common.errors import SettingError

    if replicas == "all":
        return {}
    if replicas.isdigit():
        if int(replicas) < 1:
            raise SettingError("--replicas", replicas, "all, a number from 1, or names with commas between them")
        return {"count": int(replicas)}
    return {"names": [name.strip() for name in replicas.split(",") if name.strip()]}


def _where(position: str) -> dict[str, Any]:
    from common.errors import SettingError

    if not position:
        return {}
    epoch, _, sequence = position.partition(".")
    if not (epoch.isdigit() and sequence.isdigit()):
        raise SettingError("--position", position, "EPOCH.SEQ, two whole numbers, as status --json tells them")
    return {"position": [int(epoch), int(sequence)]}
