"""`treecast mirror`: a directory and its copies on this machine, with the same services as a fleet, and nothing to set up."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from common.errors import SettingError
from treecast import carried_options as carried
from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.patterns import Patterns
    from treecast.metadata import Metadata
    from treecast.mirroring.layout import Layout
    from treecast.mirroring.processes import Processes
    from treecast.mirroring.releasing import Releasing
    from treecast.mirroring.stopping import StopRequests

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_INTERRUPTED = 130


@app.command(cls=PlainCommand, epilog="Example: treecast mirror --once /srv/playlists /mnt/copy-a /mnt/copy-b")
def mirror(  # noqa: PLR0913 - its options
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The directory whose content is copied, with or without a slash at its end."
        ),
    ],
    replicas: Annotated[
        list[str],
        typer.Argument(
            metavar="REPLICA", help="Directories that will equal it, not hold it; made where they are missing."
        ),
    ],
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Bring the replicas level and end; nothing of treecast stays in them.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("-n", "--dry-run", help="Print what would be done, one line per path; change nothing.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="A gitignore pattern; what it matches is not copied, and not touched in replicas. May be repeated;"
            " default: the lines of TREECAST_EXCLUDE.",
        ),
    ] = None,
    symlinks: carried.SymlinksOption = None,
    owner: carried.OwnerOption = None,
    dir_mode: carried.DirModeOption = None,
    file_mode: carried.FileModeOption = None,
    group: carried.GroupOption = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Take over replicas that hold files: equal ones stay, others go to .treecast/aside in them, for 7 days.",
        ),
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where treecast remembers this mirror; default: below ~/.local/state/treecast,"
            " for root below /var/lib/treecast.",
        ),
    ] = None,
    hold: Annotated[
        str | None,
        typer.Option(
            metavar="LIMIT",
            help="How many deletes are too many at once, or off; default: TREECAST_HOLD, else 5000,10%,50% (docs/settings.md).",
        ),
    ] = None,
    release_hold: Annotated[
        bool,
        typer.Option(
            "--release-hold",
            help="Let deletes go that are held because there were too many, also of an emptied source.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one object at the end, or one per line while it follows.")
    ] = False,
) -> None:
    """Keep copies of a directory on this machine, deletions included.

    Nothing else needs to be installed, configured or running. Without --once it follows changes until Ctrl-C.

    Every replica is compared whole at the start, and proved level by digests. Carried is what rsync -rlptOJ --delete
    carries, without setuid, setgid and sticky; owner and group too with --owner.

    A replica that holds other files is refused, with counts, unless --adopt. Too many deletes at once are held, shown and
    not done, unless --release-hold.
    """
    from common.loading import unknown_variables
    from treecast.mirroring.arguments import judge_arguments
    from treecast.mirroring.releasing import Releasing

    for line in unknown_variables(os.environ):
        typer.echo(f"treecast: {line}", err=True)
    patterns = carried.read_patterns(exclude, os.environ)
    layout = judge_arguments(source, replicas, state)
    typed = {"symlinks": symlinks, "owner": owner, "dir_mode": dir_mode, "file_mode": file_mode, "group": group}
    metadata = carried.read_metadata(typed, os.environ)
    carried.check_allowed(metadata, typed)
    if dry_run:
        _preview(layout, patterns, metadata, adopt=adopt, as_json=as_json)
        return
    options = [
        *(["--once"] if once else []),
        *([f"--hold={_hold(hold)}"] if hold is not None else []),
        *(f"--exclude={line}" for line in exclude or ()),
        *carried.words_of(typed),
        *([f"--state={state}"] if state is not None else []),
    ]
    retyped = _Typed(options, [source, *replicas])
    with _running(layout, patterns, metadata, adopt=adopt, hold=hold or "", command=retyped.words("--adopt")) as (
        processes,
        requests,
    ):
        releasing = Releasing(processes, is_wanted=release_hold)
        if once:
            release_command = shlex.join(retyped.words("--release-hold"))
            code = _once(processes, requests, patterns, releasing, release_command, as_json=as_json)
        else:
            code = _follow(processes, requests, releasing, as_json=as_json)
    raise typer.Exit(code)


class _Typed(NamedTuple):
    """What was typed, to be typed once more."""

    options: list[str]
    paths: list[str]

    def words(self, option: str) -> list[str]:
        """The command with one more option."""
        with_dashes = ["--"] if any(path.startswith("-") for path in self.paths) else []
        return ["treecast", "mirror", *self.options, option, *with_dashes, *self.paths]


def _hold(given: str) -> str:
    from common.holds import HOLD_ALLOWED, parse_hold

    try:
        return str(parse_hold(given))
    except ValueError as error:
        raise SettingError("--hold", given, HOLD_ALLOWED) from error


@contextmanager
def _running(
    layout: "Layout", patterns: "Patterns", metadata: "Metadata", *, adopt: bool, hold: str, command: list[str]
) -> "Iterator[tuple[Processes, StopRequests]]":
    """The processes of this mirror, ended however this ends; a child's end without being told so ends this command."""
    from treecast.mirroring.child import ChildEndedError
    from treecast.mirroring.processes import Processes, held
    from treecast.mirroring.replicas import check_replicas, compare_anew, make_missing
    from treecast.mirroring.stopping import stop_requests

    with held(layout):
        check_replicas(layout, patterns, metadata, adopt=adopt, command=command)
        make_missing(layout)
        compare_anew(layout)
        processes = Processes(layout, patterns.lines, metadata, adopt=adopt, hold=hold)
        with stop_requests() as requests:
            try:
                processes.start()
                yield processes, requests
            except ChildEndedError as error:
                print(f"treecast: {error}", file=sys.stderr)
                raise typer.Exit(error.code) from error
            finally:
                processes.stop()


def _once(
    processes: "Processes",
    requests: "StopRequests",
    patterns: "Patterns",
    releasing: "Releasing",
    release_command: str,
    *,
    as_json: bool,
) -> int:
    from treecast.mirroring.once import bring_level
    from treecast.mirroring.progress import shown_progress
    from treecast.mirroring.replicas import release_replica
    from treecast.mirroring.words import result_json, summary_lines

    layout = processes.layout
    with shown_progress(layout, is_quiet=as_json) as progress:
        result = bring_level(processes, requests, progress, releasing, release_command)
    processes.stop()
    released = [one.place for one in result.replicas if not one.failure]
    found = {place.name: release_replica(layout, place, patterns.lines) for place in released}
    kept = {name: path for name, path in found.items() if path is not None}
    if as_json:
        print(json.dumps(result_json(layout, result, kept), indent=2))
    else:
        print("\n".join(summary_lines(layout, result, kept, release_command)), flush=True)
    return result.exit_code


def _follow(processes: "Processes", requests: "StopRequests", releasing: "Releasing", *, as_json: bool) -> int:
    from treecast.mirroring.live import follow, live_view

    with live_view(processes.layout, as_json=as_json) as view:
        follow(processes, requests, view, releasing)
    return _INTERRUPTED if requests.is_interrupt else 0


def _large_limit_bytes() -> int:
    """The largest file that a run would carry. Raises SettingError."""
    from common.errors import SettingError
    from common.quantities import SIZES_ALLOWED, parse_size_bytes
    from producer.source import LARGE_LIMIT_BYTES

    given = os.environ.get("TREECAST_LARGE_LIMIT", "")
    try:
        return parse_size_bytes(given) if given else LARGE_LIMIT_BYTES
    except ValueError as error:
        raise SettingError("TREECAST_LARGE_LIMIT", given, SIZES_ALLOWED) from error


def _preview(layout: "Layout", patterns: "Patterns", metadata: "Metadata", *, adopt: bool, as_json: bool) -> None:
    """One line per path and totals, for each replica."""
    from contextlib import ExitStack

    from producer.root import root_state
    from treecast.mirroring.preview import preview
    from treecast.mirroring.replicas import published_by_us, refusal_of
    from treecast.mirroring.words import preview_json, shown_path, totals_words

    if layout.producer_state.is_dir() and root_state(str(layout.source)).is_empty:
        print(
            "treecast: the source is empty, and was not before: a run would stop and ask, not do this", file=sys.stderr
        )
    found = []
    large_limit_bytes = _large_limit_bytes()
    for place in layout.replicas:
        if len(layout.replicas) > 1 and not as_json:
            print(f"{shown_path(place.given)}:")
        acts, refusal = [], refusal_of(place, layout, patterns, metadata, adopt=adopt)
        with ExitStack() as parts:
            is_published = published_by_us(place, layout.tree, parts)
            for planned in preview(layout.source, place.target, patterns, metadata, is_published, large_limit_bytes):
                acts.append(planned)
                if not as_json:
                    print(planned.line())
        if refusal:
            print(f"treecast: a run would refuse this: {refusal}", file=sys.stderr)
        found.append(preview_json(place, acts, refusal))
        if not as_json:
            print(f"{shown_path(place.given)}: {totals_words(acts)}")
    if as_json:
        print(json.dumps({"source": shown_path(layout.source), "replicas": found}, indent=2))
