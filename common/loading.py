"""Does: reads settings from the command line, the environment, a file and the defaults, in that order, once.

Knows how a setting is spelled in each place, and remembers where each value came from. What a setting may be is
`common.settings`' business.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple

from pydantic import SecretStr, ValidationError

from common import names
from common.errors import SettingError
from common.hooks import shown as shown_hook
from common.places import default_state
from common.setting_kinds import PatternsError
from common.settings import (
    MODELS,
    OUTSIDE_SETTINGS,
    PREFIX,
    CommonSettings,
    ConsumeSettings,
    ProduceSettings,
    Role,
    S,
    Setting,
    default_replica,
    settings_of,
)
from common.transport.urls import shown as shown_url

Layer = dict[str, "Given"]

LIKE_FROM = 0.6
"""Words that are less alike, from 0 to 1, are not offered for each other."""

_COMMON = settings_of(CommonSettings)
_TABLES: Mapping[str, dict[str, Setting]] = {role: settings_of(model) for role, model in MODELS.items()}
_EVERY = {name: setting for table in _TABLES.values() for name, setting in table.items()}
_VARIABLES = {setting.variable: name for name, setting in _EVERY.items()}


class Given(NamedTuple):
    """A value before it is judged. `origin`: where it came from; `spelled`: the setting as the person typed it."""

    value: object
    origin: str
    spelled: str


class Nothing:
    """Stands for a value that was not given, in a SettingError."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = Nothing()
SHOWN_LIMIT = 500
"""A longer value is not repeated to whoever typed it."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings, where each came from, and lines to log about variables that look like settings and are none."""

    settings: S
    given: Mapping[str, Given]
    warnings: tuple[str, ...]

    def spelled(self, name: str) -> str:
        """The setting as the person typed it, to name it in an error."""
        return self.given[name].spelled


def load_produce(cli: Mapping[str, object], config: Path | None, environ: Mapping[str, str]) -> Loaded[ProduceSettings]:
    """A producer's settings. `cli`: setting name to value, None or empty where it was not given.

    Raises SettingError for the first setting that is missing, wrong or unknown.
    """
    return _load("produce", ProduceSettings, cli, config, environ)


def load_consume(cli: Mapping[str, object], config: Path | None, environ: Mapping[str, str]) -> Loaded[ConsumeSettings]:
    """A consumer's settings; see `load_produce`."""
    return _load("consume", ConsumeSettings, cli, config, environ)


def _load(
    role: Role, model: type[S], cli: Mapping[str, object], config: Path | None, environ: Mapping[str, str]
) -> Loaded[S]:
    given = gather(role, cli, config, environ)
    try:
        settings = model.model_validate({name: value.value for name, value in given.items() if value.value is not ...})
    except ValidationError as error:
        raise _first_error(error, given, _TABLES[role]) from error
    return Loaded(_with_password(settings, given), given, unknown_variables(environ))


def gather(role: Role, cli: Mapping[str, object], config: Path | None, environ: Mapping[str, str]) -> dict[str, Given]:
    """What was given for each setting of a role, in the order of the table; `...` where something must be and is not."""
    table = _TABLES[role]
    chosen = {
        **{name: _default(setting) for name, setting in table.items()},
        **(_from_file(role, config) if config is not None else {}),
        **_from_environment(table, environ),
        **_from_command_line(table, cli),
    }
    if "replica" in chosen and chosen["replica"].value is ...:
        chosen["replica"] = Given(default_replica(), "default (host name)", "TREECAST_REPLICA")
    if chosen["state"].value is ...:
        chosen["state"] = _default_state(role, chosen, environ)
    return chosen


def judge_given(role: Role, given: Mapping[str, Given]) -> None:
    """Raises SettingError for the first value that is wrong; values that are not given are let pass."""
    try:
        MODELS[role].model_validate({name: value.value for name, value in given.items() if value.value is not ...})
    except ValidationError as error:
        if any(one["type"] != "missing" for one in error.errors()):
            raise _first_error(error, given, _TABLES[role], missing_too=False) from error


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each TREECAST_ variable that is no setting: some systems inject their own, so it is no error."""
    known = set(_VARIABLES) | OUTSIDE_SETTINGS
    return tuple(
        f"{name} is set and is no setting of treecast{nearest_words(name, known)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    )


def nearest_words(word: str, known: Iterable[str]) -> str:
    """ "; the nearest is ..." with the known word that looks most like this one; "" where none looks like it."""
    likeness = {one: difflib.SequenceMatcher(None, _bare(word), _bare(one)).ratio() for one in sorted(known)}
    found = max(likeness, key=lambda one: likeness[one])
    return f"; the nearest is {found}" if likeness[found] >= LIKE_FROM else ""


def _bare(word: str) -> str:
    """Without what all have at their beginning, and so are alike in."""
    return word.removeprefix(PREFIX).lstrip("-").lower()


def _default(setting: Setting) -> Given:
    return Given(setting.default, "default", setting.variable)


def _default_state(role: Role, chosen: Layer, environ: Mapping[str, str]) -> Given:
    tree = chosen["tree"].value
    holder = "producer" if role == "produce" else chosen["replica"].value
    if not isinstance(tree, str) or not isinstance(holder, str) or not (names.is_name(tree) and names.is_name(holder)):
        return chosen["state"]
    path, origin = default_state(tree, holder, environ)
    return Given(str(path), origin, "TREECAST_STATE")


def _from_command_line(table: Mapping[str, Setting], cli: Mapping[str, object]) -> Layer:
    for name in cli:
        if name not in table:
            raise SettingError(
                _option(name), _option(name), f"a setting{nearest_words(_option(name), map(_option, table))}"
            )
    return {
        name: Given(value, "command line", table[name].option)
        for name, value in cli.items()
        if value is not None and value not in ([], ())
    }


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _from_environment(table: Mapping[str, Setting], environ: Mapping[str, str]) -> Layer:
    """Empty is not set: that is how compose files and unit files leave a variable out."""
    return {
        name: Given(environ[setting.variable], f"environment {setting.variable}", setting.variable)
        for name, setting in table.items()
        if environ.get(setting.variable)
    }


def _from_file(role: Role, config: Path) -> Layer:
    """Common keys at the top or in the role's own table, which wins; the other role's table is checked for unknown keys only."""
    content = _read_toml(config)
    sections = {name: content.pop(name) for name in MODELS if name in content}
    layer = _section(config, "", content, _COMMON)
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise SettingError(f"[{name}] in {config}", section, "a table")
        found = _section(config, f"[{name}] ", section, _TABLES[name])
        if name == role:
            layer.update(found)
    return layer


def _section(config: Path, section: str, content: Mapping[str, object], table: Mapping[str, Setting]) -> Layer:
    for key in content:
        if key not in table:
            raise SettingError(f"{section}{key} in {config}", key, f"a setting{_nearest_key(key, table)}")
    return {
        key: Given(value, f"file {config}: {section}{key}", f"{section}{key} in {config}")
        for key, value in content.items()
    }


def _nearest_key(key: str, table: Mapping[str, Setting]) -> str:
    for role, settings in _TABLES.items():
        if key in settings:
            return f"; {key} stands in [{role}]"
    return nearest_words(key, table)


def _read_toml(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise SettingError("--config", str(config), f"a file that can be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError("--config", str(config), f"a TOML file ({error})") from error


def _first_error(
    error: ValidationError, given: Mapping[str, Given], table: Mapping[str, Setting], *, missing_too: bool = True
) -> SettingError:
    errors = [one for one in error.errors() if missing_too or one["type"] != "missing"]
    # A state is missing only where it could not be worked out from what is wrong elsewhere.
    found = next((one for one in errors if one["loc"][0] != "state" or one["type"] != "missing"), errors[0])
    name = str(found["loc"][0])
    setting = table[name]
    if found["type"] == "missing":
        return SettingError(f"{setting.variable} or {setting.option}", NOTHING, setting.about.allowed)
    wrong = found["ctx"]["error"] if found["type"] == "value_error" else None
    allowed = setting.about.allowed if wrong is None else str(wrong)
    value = wrong.found if isinstance(wrong, PatternsError) else shown(name, given[name].value)
    return SettingError(
        given[name].spelled, value if len(str(value)) <= SHOWN_LIMIT else "what is given there", allowed
    )


def shown(name: str, value: object) -> object:
    """The value as it may be printed: without a password."""
    if name == "on_applied":
        return shown_hook(value)
    return shown_url(value) if name == "broker" and isinstance(value, str) else value


def _with_password(settings: S, given: Mapping[str, Given]) -> S:
    path = settings.broker_password_file
    if path is None:
        return settings
    try:
        content = path.read_bytes().removesuffix(b"\n")
        return settings.model_copy(update={"broker_password": SecretStr(os.fsdecode(content))})
    except OSError as error:
        allowed = f"a file that can be read ({error.strerror})"
        raise SettingError(given["broker_password_file"].spelled, str(path), allowed) from error
