"""Decides what goes on of a round of changes when some deletes in it are held: all else flows, what needs a held delete waits.

A delete of a directory, or a change from a directory to something else, needs everything below it gone. Knows the index through
a view; not why a delete is held.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from common.entries import Entry
from common.names import PATTERNS_PATH, ancestors
from producer.values import Change

Below = Callable[[bytes], Iterable[tuple[bytes, Entry]]]
"""Everything that is indexed below a path."""


def is_of_disks(change: Change) -> bool:
    """Whether it is about a path on the disks: an exclusion leaves them alone, and the patterns are on none."""
    return not change.keep and change.path != PATTERNS_PATH


def takes_away(change: Change) -> bool:
    """Whether a path goes from the disks with this change, or what is below it."""
    if change.old is None or not is_of_disks(change):
        return False
    return change.new is None or (change.old.is_directory and not change.new.is_directory)


def leaving(changes: Sequence[Change], below: Below) -> dict[bytes, Entry]:
    """Every path that would be absent after these changes, by name, and what is there now."""
    found: dict[bytes, Entry] = {}
    for change in changes:
        if change.old is None or not takes_away(change):
            continue
        if change.new is None:
            found[change.path] = change.old
        if change.old.is_directory:
            found.update(below(change.path))
    return found


@dataclass(frozen=True, slots=True)
class Divided:
    """`goes`: the changes that go on. `waits`: paths that are not held themselves, but need what is."""

    goes: list[Change]
    waits: list[bytes]


def divide(changes: Sequence[Change], leaves: Mapping[bytes, Entry], held: Collection[bytes]) -> Divided:
    """Take out of the changes what is held, and what needs it. What was to leave with a directory that waits, and is free
    itself, goes by name."""
    above_held = {directory for path in held for directory in ancestors(path)}
    stays = {
        change.path for change in changes if takes_away(change) and (change.path in held or change.path in above_held)
    }
    goes = [change for change in changes if change.path not in stays]
    waits = [path for path in stays if path not in held]
    known = {change.path for change in changes}
    for path, entry in _left_behind(leaves, stays, known):
        if path in above_held:
            waits.append(path)
        elif path not in held:
            goes.append(Change(path, entry, None))
    return Divided(goes, [path for path in waits if path not in held])


def _left_behind(
    leaves: Mapping[bytes, Entry], stays: Collection[bytes], known: Collection[bytes]
) -> Iterator[tuple[bytes, Entry]]:
    """What was to leave with something above it that stays."""
    for path, entry in leaves.items():
        if path not in known and any(directory in stays for directory in ancestors(path)):
            yield path, entry
