"""`treecast scrub`: has the consumer that runs here read its whole disk again at once, and watches until it is over."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.control import ControlClient

app = typer.Typer(add_completion=False, rich_markup_mode=None)

POLL_SECONDS = 0.5


@app.command(cls=PlainCommand, epilog="Example: treecast scrub --state /var/lib/treecast")
def scrub(
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The consumer's state directory; default: the one that runs here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON, and no progress.")] = False,
) -> None:
    """Read everything on a replica's disk again, at once, and repair what is not as the master published it.

    Ends with 0 when everything that was found is repaired, 1 when a problem remains. Ctrl-C ends the watching: the scrub
    itself goes on in the consumer, which does the same by itself all the time, slowly (see TREECAST_SCRUB_INTERVAL).
    """
    consumer = _consumer(state)
    run = consumer.ask("scrub")["run"]
    try:
        result = _watch(consumer, run, shows=not as_json and sys.stderr.isatty())
    except KeyboardInterrupt:
        print("treecast: no longer watching; the scrub goes on, see: treecast status", file=sys.stderr)
        raise
    typer.echo(json.dumps(result, indent=2) if as_json else summary(result))
    raise typer.Exit(1 if result["problems"] else 0)


def _consumer(state: Path | None) -> "ControlClient":
    """The one consumer that is meant. Raises UnreachableError, SettingError."""
    from common.control import ControlClient
    from common.errors import SettingError, UnreachableError

    found = ControlClient.find_all(state, os.environ.get("TREECAST_TREE") or None, os.environ)
    consumers = [(name, one) for name, one in found if one.ask("status")["role"] == "consumer"]
    if not consumers:
        raise UnreachableError("no consumer of this user runs here; try: treecast scrub --state DIRECTORY")
    if len(consumers) > 1:
        several = ", ".join(f"{one.state} ({name})" for name, one in consumers)
        raise SettingError("--state", "several consumers", f"one of {several}")
    return consumers[0][1]


def _watch(consumer: "ControlClient", run: int, *, shows: bool) -> dict[str, Any]:
    """What came of the run, once it is over."""
    is_shown = False
    while True:
        told = consumer.ask("status")
        scrub: Mapping[str, Any] = told.get("scrub", {})
        last: dict[str, Any] = scrub.get("last", {})
        if last.get("run", 0) >= run:
            if is_shown:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            return {"replica": told["replica"], **last}
        if shows and scrub.get("run") == run:
            print(f"\r{progress(scrub)}\x1b[K", end="", file=sys.stderr, flush=True)
            is_shown = True
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
