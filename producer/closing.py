"""Orders changes so that after each of them the published tree is a tree. Decides; reads the index through a view.

A tree is: whatever is above an entry is an indexed directory. So what goes, or stops being a directory, takes everything below
it along first, each path by name; and what comes needs its directories first. What contradicts itself (a child was seen, then
its directory was not) is not published: it waits, and is looked at again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from common.entries import Entry
from common.names import ROOT, ancestors, parent
from producer.values import Change


class IndexView(Protocol):
    """What is published so far."""

    def entry(self, path: bytes) -> Entry | None:
        """What the index has at a path."""

    def below(self, path: bytes) -> Iterator[tuple[bytes, Entry]]:
        """Everything below a path, last in byte order first, so that what is deeper comes before what it lies in."""


class Waiting(NamedTuple):
    """This change cannot be published before this path above it is a directory: look at that, and then again at this."""

    change: Change
    ancestor: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """`ordered` is lazy and yields each path once; every prefix of it leaves a tree. Between two of its items the index may be
    brought to what was yielded so far, and must not change otherwise."""

    ordered: Iterator[Change]
    waiting: list[Waiting]


Excludes = Callable[[bytes, bool], bool]
"""Whether a path (is it a directory?) is excluded."""


def _nothing(path: bytes, is_directory: bool) -> bool:
    return False


def close(changes: Sequence[Change], index: IndexView, excludes: Excludes = _nothing) -> Closed:
    """Put changes (each path once, in the order in which they were found) into an order that can be cut anywhere.

    `excludes`: what stays on the disks, also where it leaves the index with the directory that it lies in.
    """
    final = {change.path: change for change in changes}
    directories = _FinalDirectories(final, index)
    waiting = []
    able = []
    for change in changes:
        ancestor = directories.missing_above(change.path) if change.new is not None else None
        if ancestor is None:
            able.append(change)
        else:
            waiting.append(Waiting(change, ancestor))
    return Closed(_order(able, index, excludes), waiting)


class _FinalDirectories:
    """Which directories there will be when all changes are made. Remembers its answers."""

    def __init__(self, final: dict[bytes, Change], index: IndexView) -> None:
        self._final = final
        self._index = index
        self._missing: dict[bytes, bytes | None] = {ROOT: None}

    def missing_above(self, path: bytes) -> bytes | None:
        """The shallowest path above that will be no directory; None when all will be."""
        above = parent(path)
        if above in self._missing:
            return self._missing[above]
        for directory in ancestors(path):
            if directory not in self._missing:
                higher = self._missing[parent(directory)]
                self._missing[directory] = higher if higher is not None else self._unless_directory(directory)
        return self._missing[above]

    def _unless_directory(self, path: bytes) -> bytes | None:
        change = self._final.get(path)
        entry = change.new if change is not None else self._index.entry(path)
        return None if entry is not None and entry.is_directory else path


def _order(changes: Sequence[Change], index: IndexView, excludes: Excludes) -> Iterator[Change]:
    directories = {change.path: change for change in changes if change.new is not None and change.new.is_directory}
    done: set[bytes] = set()
    for change in changes:
        if change.path in done:
            continue
        if directories and change.new is not None:
            yield from _directories_above(change.path, directories, done)
        if change.old is not None and change.old.is_directory and not (change.new and change.new.is_directory):
            yield from _emptying(change, index, excludes, done)
        done.add(change.path)
        yield change


def _directories_above(path: bytes, directories: dict[bytes, Change], done: set[bytes]) -> Iterator[Change]:
    """Those that come in this round too. What stands in the place of one is no directory yet, so nothing is below it."""
    for directory in ancestors(path):
        if directory in directories and directory not in done:
            done.add(directory)
            yield directories[directory]


def _emptying(change: Change, index: IndexView, excludes: Excludes, done: set[bytes]) -> Iterator[Change]:
    """Deletes of all that is below a path that is a directory, and will hold nothing."""
    for path, entry in index.below(change.path):
        if path not in done:
            done.add(path)
            yield Change(path, entry, None, keep=excludes(path, entry.is_directory))
