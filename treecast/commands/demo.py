"""`treecast demo`: what Treecast does, in a few lines with measured times, with real processes and files."""

import json
import re
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from treecast.plain_help import PlainCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_WIDTH = 80
_NAME_WIDTH = 15
_NO_BREAK = "\N{NO-BREAK SPACE}"
_NEXT = """\
Now with directories of yours{where}:
  treecast mirror -n SOURCE REPLICA     what would be done, path by path
  treecast mirror SOURCE REPLICA...     follow changes until Ctrl-C, or --once
  treecast verify SOURCE REPLICA...     compare everything by content
On several machines, with RabbitMQ: treecast produce --help,
treecast consume --help, and the README."""


@app.command(cls=PlainCommand, epilog="Example: treecast demo")
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the directories, to look at them.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured as JSON, and no story.")] = False,
) -> None:
    """Show what Treecast does, in a few lines with measured times.

    It takes about a minute and leaves nothing behind.

    10,000 sample playlists are copied to three replicas, changed, deleted, and proved equal in the end.
    """
    from treecast.mirroring.stopping import stop_requests

    home = Path(tempfile.mkdtemp(prefix="treecast-demo-")).resolve()
    try:
        with stop_requests() as requests:
            code = _play(home, requests, as_json=as_json)
    finally:
        if keep:
            print(f"Everything is still in {home}", file=sys.stderr)
        else:
            shutil.rmtree(home, ignore_errors=True)
    raise typer.Exit(code)


def _play(home: Path, requests: object, *, as_json: bool) -> int:
    from treecast.demonstration import NotAsItShouldBeError, Story, lay_out
    from treecast.mirroring.child import ChildEndedError
    from treecast.mirroring.processes import held
    from treecast.mirroring.stopping import StopRequests

    assert isinstance(requests, StopRequests)
    layout = lay_out(home)
    if not as_json:
        print(f"10,000 playlists of 100 to 300 bytes, one master and three replicas,\nin {home}\n", flush=True)
    try:
        with held(layout):
            story = Story(layout, requests, (lambda *_: None) if as_json else _tell)
            story.run()
    except (NotAsItShouldBeError, ChildEndedError) as error:
        print(f"treecast: NOT AS IT SHOULD BE: {error}", file=sys.stderr)
        return 1
    print(json.dumps(story.figures, indent=2) if as_json else f"\n{_NEXT.format(where=_where())}")
    return 0


def _where() -> str:
    """Where the command is, for who cannot type it as it stands."""
    command = Path(sys.executable).with_name("treecast")
    if shutil.which("treecast") or not command.exists():
        return ""
    here = Path.cwd()
    return f" (treecast is {command.relative_to(here) if command.is_relative_to(here) else command})"


def _tell(name: str, what: str) -> None:
    indent = " " * (_NAME_WIDTH + 2)
    together = re.sub(r"(\d) (ms|s)\b", rf"\1{_NO_BREAK}\2", what)
    lines = textwrap.wrap(together, _WIDTH, initial_indent=f"  {name:<{_NAME_WIDTH}}", subsequent_indent=indent)
    print("\n".join(lines).replace(_NO_BREAK, " "), flush=True)
