"""Does: the options of `mirror` and `verify` that say what is carried: each is the setting of that name, typed, from the
environment, or its default. Asks this machine for the number of a group; knows no tree.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from common.errors import SettingError
from producer.carrying import Symlinks
from treecast.metadata import Metadata

if TYPE_CHECKING:
    from common.patterns import Patterns

SYMLINKS_ALLOWED = "all, safe or skip"
OWNER_ALLOWED = "off, numeric or name"


def _told(metavar: str, meaning: str, otherwise: str) -> Any:
    return typer.Option(metavar=metavar, help=f"{meaning}; default: {otherwise}.")


SymlinksOption = Annotated[
    str | None,
    _told(
        "WHICH",
        "Which symlinks count: all, those that stay in the tree (safe), none (skip)",
        "TREECAST_SYMLINKS, else all",
    ),
]
OwnerOption = Annotated[
    str | None,
    _told("HOW", "Owner and group too: off, numeric or name (to set it needs root)", "TREECAST_OWNER, else off"),
]
DirModeOption = Annotated[
    str | None,
    _told("MODE", "The mode of all directories of the replicas, as in 755", "TREECAST_DIR_MODE, else the source's"),
]
FileModeOption = Annotated[
    str | None,
    _told("MODE", "The mode of all files of the replicas, as in 644", "TREECAST_FILE_MODE, else the source's"),
]
GroupOption = Annotated[
    str | None, _told("GROUP", "The group of everything in the replicas", "TREECAST_GROUP, else as it comes")
]


def read_patterns(typed: Sequence[str] | None, environ: Mapping[str, str]) -> "Patterns":
    """`typed`: what --exclude says, None where it was not typed. Raises SettingError."""
    from common.patterns import Patterns

    lines = typed if typed is not None else environ.get("TREECAST_EXCLUDE", "").splitlines()
    try:
        return Patterns(lines)
    except SettingError as error:
        raise SettingError("--exclude" if typed else error.setting, error.found, error.allowed) from error


def _word(*allowed: str) -> Callable[[str], str]:
    def parse(given: str) -> str:
        if given.lower() not in allowed:
            raise ValueError
        return given.lower()

    return parse


def _settings() -> Mapping[str, tuple[Callable[[str], Any], str]]:
    """Each setting's reader, and what it allows."""
    from common.quantities import MODE_ALLOWED, parse_mode
    from consumer.owners import GROUP_ALLOWED, group_number
    from producer.owners import OWNERS_OF

    return {
        "symlinks": (_word(*get_args(Symlinks)), SYMLINKS_ALLOWED),
        "owner": (_word(*OWNERS_OF), OWNER_ALLOWED),
        "dir_mode": (parse_mode, MODE_ALLOWED),
        "file_mode": (parse_mode, MODE_ALLOWED),
        "group": (group_number, GROUP_ALLOWED),
    }


def spelled(name: str, typed: Mapping[str, str | None]) -> str:
    """A setting as the person gave it: the option, else the variable."""
    return f"--{name.replace('_', '-')}" if typed.get(name) is not None else f"TREECAST_{name.upper()}"


def read_metadata(typed: Mapping[str, str | None], environ: Mapping[str, str]) -> Metadata:
    """`typed`: options by the setting's name; None, or not there: not typed, and the environment says. Raises SettingError."""
    found: dict[str, Any] = {}
    for name, (parse, allowed) in _settings().items():
        text = typed.get(name)
        if text is None:
            # As everywhere, an empty variable is one that is not set.
            text = environ.get(f"TREECAST_{name.upper()}") or None
        if text is not None:
            try:
                found[name] = parse(text)
            except ValueError as error:
                raise SettingError(spelled(name, typed), text, allowed) from error
    return Metadata(**found)


def words_of(typed: Mapping[str, str | None]) -> list[str]:
    """What was typed, to be typed again."""
    return [f"{spelled(name, typed)}={text}" for name, text in typed.items() if text is not None]


def check_allowed(metadata: Metadata, typed: Mapping[str, str | None]) -> None:
    """Raises SettingError where this process may not give a replica such an owner or group."""
    from consumer import owners
    from consumer.appearance import LEFT

    try:
        owners.check_allowed(metadata.owner, LEFT if metadata.group is None else metadata.group)
    except SettingError as error:
        name = error.setting.removeprefix("TREECAST_").lower()
        raise SettingError(spelled(name, typed), error.found, error.allowed) from error
