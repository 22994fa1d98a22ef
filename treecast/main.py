"""The command line: which commands there are, and how each error ends. A command's module is loaded when it is called.

A command lives in `treecast.commands.<name>`, which has a Typer `app` with one command. What is heavy (pydantic, pika,
rich) is imported inside the functions that need it: `treecast --help` must be quick.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from common.codes import USAGE
from common.endings import guarded, heed_sigterm
from common.version import program_version

COMMANDS = (
    "mirror",
    "produce",
    "consume",
    "status",
    "replica",
    "wait",
    "hint",
    "trace",
    "hold",
    "epoch",
    "log",
    "verify",
    "scrub",
    "doctor",
    "settings",
    "demo",
)
"""In the order in which help lists them."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[
    1
]  # Typer carries a click of its own, and exports only this much


def commands() -> tuple[str, ...]:
    """The commands of this installation: those whose module is there."""
    return tuple(name for name in COMMANDS if importlib.util.find_spec(f"treecast.commands.{name}") is not None)


class _Commands(TyperGroup):
    """Finds a command's module by name, so that only the one that is called is loaded."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in commands():
            return None
        command = typer.main.get_command(importlib.import_module(f"treecast.commands.{cmd_name}").app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: treecast mirror --once /srv/playlists /mnt/copy",
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"treecast {program_version()}")
        raise typer.Exit


@app.callback()
def treecast(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Keep one master directory tree and its replicas identical, within seconds, provably.

    On one machine: treecast mirror SOURCE REPLICA. On several, with RabbitMQ between them: treecast produce beside the
    master, treecast consume beside each replica.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns its exit code; prints one line to standard error where it failed."""

    def act() -> int:
        try:
            code = app(args=list(arguments), standalone_mode=False, prog_name="treecast")
        except _UsageError as error:
            return _end_usage(error)
        except typer.Abort as error:
            raise KeyboardInterrupt from error
        return code if isinstance(code, int) else 0

    return guarded(act)


def _end_usage(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed already
        return USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "treecast"
    message = error.format_message().rstrip(".").replace("Value error, ", "")  # a word of Typer's own
    print(f"treecast: {message}. See: {path} --help", file=sys.stderr)
    return USAGE


def main() -> None:
    """The console script."""
    heed_sigterm()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
