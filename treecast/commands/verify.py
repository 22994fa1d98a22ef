"""`treecast verify`: are these directories equal? Judges the disks alone; knows no state, index or digest of ours."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import SettingError
from treecast import carried_options as carried
from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from common.patterns import Patterns
    from treecast.comparing import Difference, Tally
    from treecast.metadata import Metadata

app = typer.Typer(add_completion=False, rich_markup_mode=None)

PROGRESS_SECONDS = 0.2


@app.command(cls=PlainCommand, epilog="Example: treecast verify /srv/playlists /mnt/paris /mnt/tokyo")
def verify(  # noqa: PLR0913 - its options
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="The directory that is right.")],
    replicas: Annotated[list[Path], typer.Argument(metavar="REPLICA", help="Directories that must equal it.")],
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="A gitignore pattern to leave out; may be repeated.")
    ] = None,
    *,
    symlinks: carried.SymlinksOption = None,
    owner: carried.OwnerOption = None,
    dir_mode: carried.DirModeOption = None,
    file_mode: carried.FileModeOption = None,
    group: carried.GroupOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Compare directories by what is carried between them.

    Compared are kind, content, link target, mode of files and directories (without setuid, setgid and sticky) and mtime of files;
    with --owner also user and group, as numbers, of everything. With --dir-mode, --file-mode and --group the replicas are held
    against those instead of the source's. With --symlinks safe or skip, links that are not carried count as not in the source.
    Not compared are hard links, extended attributes, ACLs, and mtimes of directories and symlinks.

    Lists what differs, one line for each path. Ends with 0 when all are equal, 1 when not. Any directories will do:
    treecast need not run, nor ever have run.
    """
    check_root("SOURCE", source)
    for replica in replicas:
        check_root("REPLICA", replica)
    patterns = carried.read_patterns(exclude, os.environ)
    typed = {"symlinks": symlinks, "owner": owner, "dir_mode": dir_mode, "file_mode": file_mode, "group": group}
    metadata = carried.read_metadata(typed, os.environ)
    results = [_compare(source, replica, patterns, metadata, is_listed=not as_json) for replica in replicas]
    if as_json:
        is_equal = all(result["equal"] for result in results)
        typer.echo(json.dumps({"source": _shown(source), "equal": is_equal, "replicas": results}, indent=2))
    raise typer.Exit(0 if all(result["equal"] for result in results) else 1)


def check_root(argument: str, root: Path) -> None:
    """Raises SettingError when it is no directory that can be listed."""
    try:
        os.scandir(root).close()
    except OSError as error:
        raise SettingError(argument, str(root), f"a directory that can be read ({error.strerror})") from error


def _compare(
    source: Path, replica: Path, patterns: "Patterns", metadata: "Metadata", *, is_listed: bool
) -> dict[str, Any]:
    from treecast.comparing import Tally, compare_trees

    tally, found, started = Tally(), [], time.monotonic()
    with _progress(source, replica, tally):
        for difference in compare_trees(os.fsencode(source), os.fsencode(replica), patterns, tally, metadata):
            if not difference.differs:
                continue
            found.append(_as_json(difference))
            if is_listed:
                print(f"{_shown(replica)}: {difference.line()}")
    seconds = time.monotonic() - started
    if is_listed:
        print(_summary(replica, len(found), tally, seconds), flush=True)
    return {
        "replica": _shown(replica),
        "equal": not found,
        "paths": tally.paths,
        "compared_bytes": tally.compared_bytes,
        "seconds": round(seconds, 3),
        "differences": found,
    }


def _as_json(difference: "Difference") -> dict[str, Any]:
    from common.names import escape

    return {"path": escape(difference.path), "what": list(difference.what), "detail": difference.detail}


def _summary(replica: Path, differing: int, tally: "Tally", seconds: float) -> str:
    verdict = f"{differing:,} paths differ" if differing else "equal"
    rate = tally.paths / seconds if seconds > 0 else 0
    mib = tally.compared_bytes / (1 << 20)
    return f"{_shown(replica)}: {verdict} ({tally.paths:,} paths, {mib:,.1f} MiB compared, {rate:,.0f} paths/s)"


def _shown(root: Path) -> str:
    from common.names import escape

    return escape(os.fsencode(root))


@contextmanager
def _progress(source: Path, replica: Path, tally: "Tally") -> Iterator[None]:
    """Rate and time left on a terminal, on standard error; nothing where there is none."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape as literal
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = ("{task.description}", "{task.completed:,.0f} paths", "{task.fields[rate]:,.0f}/s")
    texts = [TextColumn(column) for column in columns]
    with Progress(
        *texts,
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # Where the list goes into a file, it must not be drawn on the terminal instead.
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task(literal(_shown(replica)), total=None, rate=0.0)
        ended = threading.Event()
        follower = threading.Thread(target=_follow, args=(bar, task, source, tally, ended), daemon=True)
        follower.start()
        try:
            yield
        finally:
            ended.set()
            follower.join()


def _follow(bar: "Progress", task: "TaskID", source: Path, tally: "Tally", ended: threading.Event) -> None:
    """Count first, for "time left": quick beside the comparison, which is under way meanwhile."""
    from treecast.comparing import count_paths

    started = time.monotonic()
    bar.update(task, total=count_paths(os.fsencode(source)))
    while not ended.wait(PROGRESS_SECONDS):
        bar.update(task, completed=tally.paths, rate=tally.paths / (time.monotonic() - started))
