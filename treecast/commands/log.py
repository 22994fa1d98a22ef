"""`treecast log`: what changed when, from the journal of a producer of this machine, which may be running."""

import json
import os
import time
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import SettingError
from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from producer.values import Logged

app = typer.Typer(add_completion=False, rich_markup_mode=None)

LINES = 1000


@app.command(cls=PlainCommand, epilog="Example: treecast log playlists/summer.m3u")
def log(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="In the tree, as in a/b; a directory: all below it too.")
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only what changed in this time: 90s, 15m, 1h, 7d.")
    ] = None,
    newest: Annotated[
        int, typer.Option("-n", metavar="N", help=f"The newest N lines, else {LINES}; 0: all.", show_default=False)
    ] = LINES,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The producer's state directory; default: that of the one here."),
    ] = None,
    *,
    deleted: Annotated[bool, typer.Option("--deleted", help="Only what was deleted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line, for programs.")] = False,
) -> None:
    """Show what changed, newest last: when was this deleted?

    A line is time, epoch.sequence, create, modify, delete or exclude (deleted by a pattern: no disk was touched), kind, size in
    bytes (of a deleted path: what it had), path. A deleted directory has a line for each path that was in it. Where the exclude
    patterns of the tree changed, the kind is patterns.

    It is told by the producer's change log, also while none runs. What the first scan found is no change.
    """
    from producer import changelog, journal_schema
    from treecast.journals import find_journal

    if newest < 0:
        raise SettingError("-n", newest, "0 or more")
    wanted = tree_path(path)
    from_unix_ms = _from_unix_ms(since)
    journal = find_journal(state, os.environ.get("TREECAST_TREE") or None, os.environ)
    with journal_schema.converted(journal):
        database = journal_schema.open_reader(journal)
        rows = changelog.history(database, wanted, from_unix_ms=from_unix_ms, deleted=deleted, newest=newest or None)
        printed = _print(rows, as_json=as_json)
        if not printed:
            typer.echo(f"treecast: nothing of that is in the log, which {_reach(database)}", err=True)
        elif printed == newest:
            typer.echo(f"treecast: the newest {newest:,}; with -n 0 all", err=True)
        database.close()


def _print(rows: "Iterator[Logged]", *, as_json: bool) -> int:
    from treecast import log_page
    from treecast.moments import exact_time

    printed = 0
    for row in rows:
        if as_json:
            print(json.dumps(log_page.as_json(row, exact_time(row.unix_ms / 1000, UTC))))
        else:
            print(log_page.line(row, exact_time(row.unix_ms / 1000)))
        printed += 1
    return printed


def _reach(database: "sqlite3.Connection") -> str:
    from producer import changelog
    from treecast.moments import exact_time

    oldest_ms = changelog.time_of(database, 0)
    return f"reaches back to {exact_time(oldest_ms / 1000)}" if oldest_ms is not None else "is empty"


def tree_path(given: str) -> bytes:
    """The path as the log has it. Raises SettingError where it is none of a tree."""
    if given.startswith("/"):
        raise SettingError("PATH", given, "a path in the tree, without the source before it, as in a/b")
    path = os.path.normpath(os.fsencode(given))
    return b"" if path == b"." else path


def _from_unix_ms(given: str | None) -> int:
    from common.quantities import TIMES_ALLOWED, parse_seconds

    if given is None:
        return 0
    try:
        return int((time.time() - parse_seconds(given)) * 1000)
    except ValueError as error:
        raise SettingError("--since", given, TIMES_ALLOWED) from error
