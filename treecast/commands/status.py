"""`treecast status`: how everyone is. Beside the master: the fleet, in one sentence; beside a replica: that one."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from treecast.plain_help import PlainCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)

WATCH_SECONDS = 1.0
PROVE_LOOK_SECONDS = 0.05
_CLEAR = "\x1b[H\x1b[2J"


@app.command(cls=PlainCommand, epilog="Example: treecast status --all")
def status(  # noqa: PLR0913, PLR0917 - each is an option of its own
    names: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Only these replicas of the fleet; default: all.")
    ] = None,
    tree: Annotated[str, typer.Option(metavar="TREE", help="Of this tree only.")] = "",
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The process's state directory; default: those that you run here."),
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Ask a process elsewhere: http://HOST:PORT of its --listen.")
    ] = "",
    select: Annotated[
        str,
        typer.Option("-l", "--label", metavar="LABELS", help="Only replicas with these labels: region=eu,role!=web."),
    ] = "",
    is_all: Annotated[bool, typer.Option("--all", help="List every replica, those that are equal too.")] = False,
    has_problems: Annotated[bool, typer.Option("--problems", help="List what fails, and where.")] = False,
    is_proved: Annotated[
        bool, typer.Option("--prove", help="Ask each replica to show its digest now, and compare it.")
    ] = False,
    is_watched: Annotated[bool, typer.Option("--watch", help="Again every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs; of one process only.")] = False,
) -> None:
    """Show how the fleet is, or the consumer on this machine.

    Beside the master the first line says it: who is equal, who is not, who is gone (no report for 30 s). Where the producer hears
    nobody, as the broker is away or another leads, it says that first, and since when; the rest is as it was heard last.

    Exit code: 0 everyone is within the limit; 1 someone is behind it (--max-lag of the producer) or gone, or nobody is heard, or
    a process here does not answer; 4 a person is needed; 3 no process answers. With --prove 1 also where one did not prove that
    it is equal. Beside a replica: 0 it agrees with all that it has heard of, 1 it does not yet; that it hears nothing is an alarm
    there, and no code.
    """
    if is_proved:
        _prove(names, select, tree, state, url, is_all=is_all, as_json=as_json)
    from common.codes import DONE, FAILED
    from common.labels import parse_selector
    from treecast.asking import told_by
    from treecast.moments import clock_time
    from treecast.status_report import code_of, report, selected, without_counted

    selector = parse_selector(select, "-l")
    while True:
        told, silent = told_by(state, tree, url)
        found = [selected(one, selector, names) for one in without_counted(told)]
        if as_json:
            typer.echo(json.dumps(_the_one(found), indent=2))
        else:
            text = "\n\n".join(report(one, clock_time, is_all=is_all, has_problems=has_problems) for one in found)
            typer.echo((_CLEAR if is_watched and sys.stdout.isatty() else "") + text)
        for error in silent:
            typer.echo(f"treecast: {error}", err=True)
        if not is_watched:
            raise typer.Exit(max([FAILED if silent else DONE, *map(code_of, found)]))
        time.sleep(WATCH_SECONDS)


def _prove(
    names: list[str] | None, select: str, tree: str, state: Path | None, url: str, *, is_all: bool, as_json: bool
) -> None:
    """Asks, prints and exits."""
    from common.errors import SettingError
    from common.labels import parse_selector
    from treecast.commands.replica import producer_of
    from treecast.moments import clock_time
    from treecast.prove_page import exit_code, lines, sentence
    from treecast.status_report import code_of, selected

    if url:
        raise SettingError("--url", url, "a status to read alone; --prove asks the producer on its own machine")
    client = producer_of(state, tree)
    ticket = client.ask("prove-begin", names=names, select=select)["ticket"]
    while not (found := client.ask("prove-look", ticket=ticket))["is_done"]:
        time.sleep(PROVE_LOOK_SECONDS)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo("\n".join([sentence(found), *lines(found, clock_time, is_all=is_all)]))
    status = selected(client.ask("status"), parse_selector(select, "-l"), names)
    raise typer.Exit(max(code_of(status), exit_code(found)))


def _the_one(found: list[dict[str, Any]]) -> dict[str, Any]:
    from common.errors import SettingError

    if len(found) > 1:
        several = ", ".join(one["state_directory"] for one in found)
        raise SettingError("--state", "several processes", f"one of {several}")
    return found[0]
