"""Decides how a queue's arguments are read from a broker that shows them to nobody: from the words of its refusals.

A queue is declared with an argument that no queue can have. If it is there, RabbitMQ names the first argument that differs, with
its value; if it is not, it names the wrong one. So nothing is ever made or changed, and each refusal tells one argument.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IMPOSSIBLE: Mapping[str, Any] = {
    "x-overflow": "treecast-doctor",
    "x-queue-type": "treecast-doctor",
    "x-single-active-consumer": "treecast-doctor",
    "x-max-length": -1,
    "x-max-length-bytes": -1,
    "x-message-ttl": -1,
    "x-expires": -1,
    "x-dead-letter-exchange": -1,
    "x-delivery-limit": "treecast-doctor",
}
"""What is asked for, the most important first, and a value that RabbitMQ refuses to make a queue with."""
ROUNDS_LIMIT = 40
"""Each round tells one argument; a queue has not so many."""

_NAMED = re.compile(
    r"inequivalent arg '(?P<key>[^']+)' for queue '.*' in vhost '.*': received .* but current is (?P<now>.*)$"
)
_VALUE = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '(?P<type>\w+)')?(?: \(\d+\))?$")


@dataclass(frozen=True, slots=True)
class Argued:
    """What was learned. `told`: each argument with its value, None for one that the queue has not."""

    told: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0

    def next_arguments(self) -> dict[str, Any] | None:
        """What to declare next; None when everything is known. Never without an impossible value."""
        asked = next((key for key in IMPOSSIBLE if key not in self.told), None)
        if asked is None or self.rounds >= ROUNDS_LIMIT:
            return None
        return {**self.arguments, asked: IMPOSSIBLE[asked]}

    @property
    def arguments(self) -> dict[str, Any]:
        """Those that the queue has."""
        return {key: value for key, value in self.told.items() if value is not None}

    def heard(self, words: str) -> "Argued | None":
        """With what a refusal told; None where it told nothing new: then no more is to be learned."""
        named = named_argument(words)
        if named is None or named[0] in self.told:
            return None
        return Argued({**self.told, named[0]: named[1]}, self.rounds + 1)


def named_argument(words: str) -> tuple[str, Any] | None:
    """The argument that a refusal names, and the value that it has now (None: none); None for other words."""
    named = _NAMED.search(words)
    if named is None:
        return None
    value = _VALUE.match(named["now"])
    return named["key"], _typed(value["value"], value["type"]) if value is not None else None


def _typed(text: str, kind: str | None) -> Any:
    """RabbitMQ names the type only where it differs from the one that was sent."""
    if kind in {None, "longstr"} and not re.fullmatch(r"-?\d{1,19}", text):
        return {"true": True, "false": False}.get(text, text)
    if kind == "bool":
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d{1,19}", text) else text
