"""`treecast scrub`: a consumer, or those of a fleet, read their whole disks again at once; it watches until that is over."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treecast.commands.replica import producer_of
from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.control import ControlClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

POLL_SECONDS = 0.5


@app.command(
    cls=PlainCommand,
    short_help="Read a replica's whole disk again, and repair it.",
    epilog="Example: treecast scrub --all",
)
def scrub(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Beside the master: these replicas of the fleet.")
    ] = None,
    is_all: Annotated[bool, typer.Option("--all", help="Beside the master: every replica of the fleet.")] = False,
    select: Annotated[
        str, typer.Option("-l", "--label", metavar="LABELS", help="Beside the master: all that have these labels.")
    ] = "",
    tree: Annotated[str, typer.Option(metavar="TREE", help="Default: the one tree that is produced here.")] = "",
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The state directory of the process to ask; default: the one that runs here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON, and no progress.")] = False,
) -> None:
    """Read everything on a replica's disk again, at once, and repair what is not as the master published it.

    Ends with 0 when everything that was found is repaired, 1 when a problem remains. Ctrl-C ends the watching: the scrub
    itself goes on in the consumer, which does the same by itself all the time, slowly (see TREECAST_SCRUB_INTERVAL).

    With ID, --all or -l it is asked of replicas through the producer that runs here; 1 then also where one is gone or silent.
    """
    if names or is_all or select:
        _scrub_fleet(names, select, producer_of(state, tree), as_json=as_json, is_all=is_all)
    consumer = _consumer(state)
    run = consumer.ask("scrub")["run"]
    try:
        result = _watch(consumer, run, shows=not as_json and sys.stderr.isatty())
    except KeyboardInterrupt:
        print("treecast: no longer watching; the scrub goes on, see: treecast status", file=sys.stderr)
        raise
    typer.echo(json.dumps(result, indent=2) if as_json else summary(result))
    raise typer.Exit(1 if result["problems"] else 0)


def _scrub_fleet(
    names: list[str] | None, select: str, producer: "ControlClient", *, as_json: bool, is_all: bool
) -> None:
    """Asks, shows progress, prints and exits."""
    from common.errors import SettingError
    from treecast import scrub_page
    from treecast.moments import clock_time

    if names and is_all:
        raise SettingError("--all", f"{len(names)} named", "either every replica, or these")
    ticket = producer.ask("scrub-begin", names=names or None, select=select)["ticket"]
    line = StatusLine(is_shown=not as_json and sys.stderr.isatty())
    try:
        while not (found := producer.ask("scrub-look", ticket=ticket))["is_done"]:
            line.show(scrub_page.progress(found))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        print("treecast: no longer watching; the scrubs go on, see: treecast status --all", file=sys.stderr)
        raise
    finally:
        line.clear()
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(scrub_page.report(found, clock_time)))
    raise typer.Exit(scrub_page.exit_code(found))


class StatusLine:
    """One line of a terminal, written over again and again."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._is_there = False

    def show(self, text: str) -> None:
        """This stands there now."""
        if self._is_shown:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
            self._is_there = True

    def clear(self) -> None:
        """Nothing stands there any more. Idempotent."""
        if self._is_there:
            self._is_there = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _consumer(state: Path | None) -> "ControlClient":
    """The one consumer that is meant. Raises UnreachableError, SettingError."""
    from common.errors import SettingError, UnreachableError
    from treecast.asking import all_told

    told = all_told(state, "", lambda one: one.ask("status"))
    consumers = [(one, status) for one, status in told.answers if status["role"] == "consumer"]
    if not consumers and told.silent:
        raise told.silent[0]
    if not consumers and told.answers:
        raise UnreachableError("a producer answers here, and no consumer; of its fleet: treecast scrub --all, or ID...")
    if len(consumers) > 1:
        several = ", ".join(f"{one.state} ({status['tree']}.{status['replica']})" for one, status in consumers)
        raise SettingError("--state", "several consumers", f"one of {several}")
    return consumers[0][0]


def _watch(consumer: "ControlClient", run: int, *, shows: bool) -> dict[str, Any]:
    """What came of the run, once it is over."""
    line = StatusLine(is_shown=shows)
    while True:
        told = consumer.ask("status")
        scrub: Mapping[str, Any] = told.get("scrub", {})
        last: dict[str, Any] = scrub.get("last", {})
        if last.get("run", 0) >= run:
            line.clear()
            return {"replica": told["replica"], **last}
        if scrub.get("run") == run:
            line.show(progress(scrub))
        time.sleep(POLL_SECONDS)


def progress(scrub: Mapping[str, Any]) -> str:
    """One line that fits a terminal: how far it is, and how long it will take."""
    from treecast.status_page import duration

    found, left = sum(scrub["findings"].values()), scrub.get("left_seconds")
    match scrub["state"]:
        case "waiting":
            how = "waiting for buckets to be level"
        case "repairing":
            how = f"all read, {scrub['open']:,} to repair"
        case _:
            how = f"{scrub['ratio']:4.0%}  {scrub['paths']:,} paths  {scrub['bytes'] / 1e6:,.0f} MB"
            how += f"  {duration(left)} left" if left is not None else ""
    return f"{how}  {found:,} found, {scrub['repaired']:,} repaired"


def summary(result: Mapping[str, Any]) -> str:
    """The lines at the end: how much was read, and what was found by kind."""
    seconds, found = result["seconds"], result["findings"]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.items()) or "nothing"
    read = f"{result['paths']:,} paths, {result['bytes'] / 1e6:,.1f} MB in {seconds:,.1f} s"
    end = f"{result['repaired']:,} repaired"
    if result["problems"]:
        end += f"; {result['problems']:,} problems remain: treecast status lists them"
    return f"{result['replica']}: {read}\nfound: {kinds}; {end}"
