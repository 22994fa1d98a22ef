"""`treecast doctor`: will a producer, or a consumer, be well on this machine and with this broker? It leaves nothing behind."""

import json
import os
import shutil
import socket
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import SettingError
from treecast.plain_help import PlainCommand

if TYPE_CHECKING:
    from common.settings import CommonSettings
    from treecast.doctor.case import Case

app = typer.Typer(add_completion=False, rich_markup_mode=None)

WIDTH_LEAST, WIDTH_MOST = 60, 120


class Role(StrEnum):
    """Whose settings."""

    PRODUCE = "produce"
    CONSUME = "consume"


_ROOTS = {Role.PRODUCE: "source", Role.CONSUME: "target"}
"""The setting that one role has and the other has not."""


@app.command(cls=PlainCommand, epilog="Example: treecast doctor --config /etc/treecast.toml --role consume")
def doctor(
    role: Annotated[
        Role | None,
        typer.Option(metavar="produce|consume", help="Whose machine; default: by the settings.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The settings file that the service is given.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The service's state directory, where its settings do not say it."),
    ] = None,
    management: Annotated[
        str | None,
        typer.Option(metavar="URL", help="RabbitMQ's management API, which shows policies: http://HOST:15672."),
    ] = None,
    shows_all: Annotated[bool, typer.Option("--all", help="Also show what is well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON, for programs.")] = False,
) -> None:
    """Check this machine and the broker, and say what to do.

    It needs the settings of a producer or a consumer, which may run or not: nothing is locked or consumed, and what it tries in a
    target is gone at once. For a service, load its environment file first. Ends with 0 when all is well, 1 when something will
    hurt, 3 when the broker is out of reach, 4 when a person must act before it works.
    """
    from treecast.doctor.examination import examine
    from treecast.doctor.findings import verdict
    from treecast.doctor.page import as_json as findings_json
    from treecast.doctor.page import page

    case = _case(role, config, state, management)
    findings = list(examine(case))
    if as_json:
        typer.echo(json.dumps(findings_json(_about(case), findings), indent=2))
    else:
        typer.echo(page(_heading(case), findings, shows_all=shows_all, width=_width()))
    raise typer.Exit(verdict(findings))


def _case(role: Role | None, config: Path | None, state: Path | None, management: str | None) -> "Case":
    from common.loading import load_consume, load_produce
    from treecast.doctor.case import Case, status_of

    chosen = role or _role_by_settings(config)
    cli = {"state": str(state.absolute()) if state is not None else _state_of_running(chosen, config)}
    load = load_produce if chosen is Role.PRODUCE else load_consume
    settings: CommonSettings = load(cli, config, os.environ).settings
    return Case(settings, status_of(settings.state), management)


def _role_by_settings(config: Path | None) -> Role:
    """Raises SettingError where the settings are neither's, or both's."""
    from common.loading import NOTHING, gather

    told = [role for role, root in _ROOTS.items() if gather(role.value, {}, config, os.environ)[root].value is not ...]
    if len(told) == 1:
        return told[0]
    allowed = "produce, with TREECAST_SOURCE set, or consume, with TREECAST_TARGET; or --config FILE"
    raise SettingError("--role", "a source and a target" if told else NOTHING, allowed)


def _state_of_running(role: Role, config: Path | None) -> str | None:
    """Where the process of these settings lies that runs here, if its place is not told; None to go by the settings."""
    from common.control import running
    from common.loading import gather

    given = gather(role.value, {}, config, os.environ)
    if not given["state"].origin.startswith("default"):
        return None
    holder = "producer" if role is Role.PRODUCE else given["replica"].value
    name = f"{given['tree'].value}.{holder}"
    return next((str(one.state) for one in running(os.environ) if one.name == name), None)


def _about(case: "Case") -> dict[str, Any]:
    from common.version import program_version

    return {
        "role": "consumer" if case.replica else "producer",
        "tree": case.settings.tree,
        "replica": case.replica,
        "host": socket.gethostname(),
        "version": program_version(),
    }


def _heading(case: "Case") -> str:
    about = _about(case)
    replica = f" {about['replica']}" if about["replica"] else ""
    return f"{about['role']}{replica} of the tree {about['tree']}, on {about['host']}, as {case.user}"


def _width() -> int:
    """Of the terminal, within what can be read; where there is none, as wide as it may be."""
    if not sys.stdout.isatty():
        return WIDTH_MOST
    return min(WIDTH_MOST, max(WIDTH_LEAST, shutil.get_terminal_size().columns))
