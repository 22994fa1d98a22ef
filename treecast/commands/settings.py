"""`treecast settings`: what applies here, and why."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from treecast.plain_help import PlainCommand

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Service(StrEnum):
    """Whose settings."""

    PRODUCE = "produce"
    CONSUME = "consume"


@app.command(cls=PlainCommand, epilog="Example: treecast settings consume --config /etc/treecast.toml")
def settings(
    service: Annotated[
        Service | None,
        typer.Argument(
            metavar="produce|consume", help="Whose settings; they are then checked as at its start.", show_default=False
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings file that the service is given.")
    ] = None,
) -> None:
    """Show each setting's value and where it came from.

    Passwords are hidden. The variables that count are those of this shell: for a service, load its environment file first.
    """
    from common.loading import gather, judge_given, load_consume, load_produce, unknown_variables
    from common.settings_table import value_lines

    for role in [service] if service is not None else list(Service):
        given = gather(role.value, {}, config, os.environ)
        typer.echo(f"treecast {role.value}")
        for line in value_lines(role.value, given):
            typer.echo(f"  {line}")
        judge_given(role.value, given)
    for line in unknown_variables(os.environ):
        typer.echo(f"treecast: warning: {line}", err=True)
    if service is not None:
        (load_produce if service is Service.PRODUCE else load_consume)({}, config, os.environ)
