"""Decides what labels a replica may have, and what a selector picks. Knows no replica.

Labels are written as Kubernetes writes them: `region=eu,role=web`. A selector is a list of conditions that must all hold:
`region=eu`, `role!=web`, `role` (has it), `!role` (has it not).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from common.errors import SettingError

LABELS_ALLOWED = (
    "KEY=VALUE,... : at most 20, keys of 1 to 63 of a-z A-Z 0-9 . _ - /, values of 0 to 63 of a-z A-Z 0-9 . _ -"
)
SELECTOR_ALLOWED = "conditions with commas between them: KEY=VALUE, KEY!=VALUE, KEY or !KEY"
LABELS_LIMIT = 20

_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")

Labels = Mapping[str, str]


def parse_labels(given: object) -> dict[str, str]:
    """Labels as a person wrote them (text, or a table of a file), in the order of their keys. Raises ValueError."""
    if isinstance(given, str):
        pairs = [part.strip().partition("=") for part in given.split(",") if part.strip()]
        if not all(equals for _, equals, _ in pairs) or len({key for key, _, _ in pairs}) < len(pairs):
            raise ValueError(LABELS_ALLOWED)
        given = {key.strip(): value.strip() for key, _, value in pairs}
    labels = sound_labels(given)
    if labels is None:
        raise ValueError(LABELS_ALLOWED)
    return labels


def sound_labels(given: object) -> dict[str, str] | None:
    """Labels as somebody else said them; None when they are none."""
    if not isinstance(given, Mapping) or len(given) > LABELS_LIMIT:
        return None
    are_sound = all(
        isinstance(key, str) and _KEY.fullmatch(key) and isinstance(value, str) and _VALUE.fullmatch(value)
        for key, value in given.items()
    )
    return dict(sorted(given.items())) if are_sound else None


def labels_text(labels: Labels) -> str:
    """As a person writes them; "" for none."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


class Condition(NamedTuple):
    """One condition: the key's value is this one, or (`value` None) the key is there; or the opposite."""

    key: str
    value: str | None
    is_negated: bool

    def holds(self, labels: Labels) -> bool:
        """Whether it holds. As in Kubernetes, `role!=web` holds too where there is no role."""
        is_so = self.key in labels if self.value is None else labels.get(self.key) == self.value
        return is_so != self.is_negated


class Selector(NamedTuple):
    """All of its conditions must hold; none: everything is picked."""

    conditions: tuple[Condition, ...] = ()

    def picks(self, labels: Labels) -> bool:
        """Whether a replica with these labels is meant."""
        return all(condition.holds(labels) for condition in self.conditions)


def parse_selector(text: str, named: str = "--label") -> Selector:
    """A selector as a person wrote it; "" picks everything. Raises SettingError, naming `named`."""
    return Selector(tuple(_condition(part.strip(), text, named) for part in text.split(",") if part.strip()))


def _condition(part: str, text: str, named: str) -> Condition:
    for sign, is_negated in (("!=", True), ("==", False), ("=", False)):
        key, found, value = part.partition(sign)
        if found:
            return _checked(Condition(key.strip(), value.strip(), is_negated), text, named)
    return _checked(Condition(part.lstrip("!").strip(), None, part.startswith("!")), text, named)


def _checked(condition: Condition, text: str, named: str) -> Condition:
    if not _KEY.fullmatch(condition.key) or not _VALUE.fullmatch(condition.value or ""):
        raise SettingError(named, text, SELECTOR_ALLOWED)
    return condition
