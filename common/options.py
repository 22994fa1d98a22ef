"""Does: reads a service's command line. Every option is a setting, made from the settings' own table, so help cannot lie.

Knows no value: `common.loading` judges what was given.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from common.errors import SettingError
from common.loading import NOTHING, nearest_words
from common.settings import MODELS, Role, Setting, settings_of
from common.settings_table import default_text

_CARRIED = "Carried is what rsync -rlptOJ --delete carries,\nwithout setuid, setgid and sticky."
_DESCRIPTIONS: dict[Role, str] = {
    "produce": "Watch the master's directory and publish what changes,\nuntil it is told to stop (SIGTERM, Ctrl-C).\n\n"
    + _CARRIED,
    "consume": "Keep this replica's directory equal to the master's,\nuntil it is told to stop (SIGTERM, Ctrl-C).\n\n"
    + _CARRIED,
}
_EXAMPLES: dict[Role, str] = {
    "produce": "--tree playlists --source /srv/playlists \\\n      --broker amqps://producer@mq.example.com/",
    "consume": "--tree playlists --replica paris --target /srv/playlists \\\n      --broker amqps://paris@mq.example.com/",
}
_LISTS = frozenset({"exclude", "protect"})
_SWITCHES = frozenset({"adopt"})


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        option = message.partition(":")[0].removeprefix("argument ") if message.startswith("argument ") else "arguments"
        why = message.rpartition(": ")[2]
        raise SettingError(option, NOTHING if why == "expected one argument" else why, f"what {self.prog} --help lists")


def parse_options(role: Role, arguments: Sequence[str], program: str) -> tuple[dict[str, object], Path | None]:
    """Setting name to what was given (None where it was not), and the settings file. Prints help and exits 0 for --help.

    Raises SettingError for an option that does not exist, with the nearest one that does.
    """
    table = settings_of(MODELS[role])
    parser = _parser(role, table.values(), program)
    found, unknown = parser.parse_known_args(list(arguments))
    if unknown:
        word = unknown[0].partition("=")[0]
        known = ["--config", *(setting.option for setting in table.values())]
        raise SettingError(word, unknown[0], f"an option of {program}{_other_role(word) or nearest_words(word, known)}")
    given = dict(vars(found))
    config = given.pop("config")
    return given, config


def _other_role(word: str) -> str:
    """Whose option it is, where it is one at all."""
    roles = [role for role, model in MODELS.items() if any(one.option == word for one in settings_of(model).values())]
    return f"; it is one of treecast {roles[0]}" if roles else ""


def _parser(role: Role, settings: Iterable[Setting], program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description=_DESCRIPTIONS[role],
        epilog=f"Example:\n  {program} {_EXAMPLES[role]}\n\nSee what applies, and why: treecast settings {role}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="A TOML file with settings; one may serve the fleet."
    )
    for setting in settings:
        _add(parser, setting)
    return parser


def _add(parser: argparse.ArgumentParser, setting: Setting) -> None:
    about = f"{setting.about.meaning} Allowed: {setting.about.allowed}."
    text = f"{about} {setting.variable}; {described_default(setting)}.".replace("%", "%%").replace("`", "")
    if setting.name in _SWITCHES:
        parser.add_argument(setting.option, dest=setting.name, action=argparse.BooleanOptionalAction, help=text)
    elif setting.name in _LISTS:
        parser.add_argument(setting.option, dest=setting.name, metavar="PATTERN", action="append", help=text)
    else:
        parser.add_argument(setting.option, dest=setting.name, metavar=_metavar(setting), help=text)


def _metavar(setting: Setting) -> str:
    return setting.name.rpartition("_")[2].upper()


def described_default(setting: Setting) -> str:
    """What applies when the setting is not given, in words."""
    default = default_text(setting)
    return default if setting.is_required else f"default: {default}"


if sys.version_info >= (3, 14):  # pragma: no cover - colours would stand in generated texts
    _Parser.color = False  # type: ignore[attr-defined]
