"""Decides how the settings read in a page and on a terminal: made from the models, so that neither can lie."""

from collections.abc import Mapping

from common.loading import Given, shown
from common.settings import MODELS, CommonSettings, Role, Setting, settings_of

_TITLES = {"produce": "Producer only, `[produce]` in a file", "consume": "Consumer only, `[consume]` in a file"}


def settings_table() -> str:
    """Every setting as Markdown: one table for what both are told, one for each role."""
    common = settings_of(CommonSettings)
    parts = ["### Both\n\n" + _table(common)]
    for role, model in MODELS.items():
        own = {name: setting for name, setting in settings_of(model).items() if name not in common}
        parts.append(f"### {_TITLES[role]}\n\n" + _table(own))
    return "\n\n".join(parts) + "\n"


def _table(settings: Mapping[str, Setting]) -> str:
    lines = ["| variable | option | in a file | default | meaning |", "|---|---|---|---|---|"]
    lines += [_row(setting) for setting in settings.values()]
    return "\n".join(lines)


def _row(setting: Setting) -> str:
    meaning = f"{setting.about.meaning} Allowed: {setting.about.allowed}.".replace("|", "\\|")
    return f"| `{setting.variable}` | `{setting.option}` | `{setting.name}` | {default_text(setting)} | {meaning} |"


def default_text(setting: Setting) -> str:
    """What applies when the setting is not given, in words."""
    if setting.about.shown_default:
        return setting.about.shown_default
    if setting.is_required:
        return "must be given"
    return "none" if setting.default in (None, (), "") else text_of(setting.default)


def value_lines(role: Role, given: Mapping[str, Given]) -> list[str]:
    """One line for each setting: option, value, where it came from. Secrets are hidden."""
    table = settings_of(MODELS[role])
    rows = [
        (table[name].option, _value(table[name], one), "" if one.value is ... else one.origin)
        for name, one in given.items()
    ]
    wide = max(len(option) for option, _, _ in rows)
    return [f"{option:<{wide}}  {value:<32}  {origin}".rstrip() for option, value, origin in rows]


def _value(setting: Setting, given: Given) -> str:
    value = shown(setting.name, given.value)
    return f"({default_text(setting).replace('`', '')})" if value is None or value is ... else text_of(value)


def text_of(value: object) -> str:
    """A value as a person would type it, on one line."""
    if value in ((), []):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value)
    return ", ".join(str(value).splitlines())


if __name__ == "__main__":
    print(settings_table(), end="")
