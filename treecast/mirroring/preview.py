"""Does: says what a mirror would do to a replica, by comparing the two directories. Changes nothing.

Knows the comparison that `treecast verify` makes; what our own state knows of a replica is asked through a function.
"""

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from common.names import escape, join
from common.patterns import Patterns
from treecast.comparing import Difference, Tally, What, compare_trees, kind_of
from treecast.metadata import Metadata

_CHUNK_DIFFERENCES = 500
_OTHER_CONTENT = frozenset({What.KIND, What.CONTENT, What.TARGET})
_CARRIED = ("file", "directory", "symlink")


class Act(StrEnum):
    """What would be done at a path."""

    CREATE = "create"
    MODIFY = "modify"
    DELETE = "delete"
    ASIDE = "aside"
    """Moved to .treecast/aside: neither the source nor our state knows it."""
    PROBLEM = "problem"
    """Nothing can be done; `why` says it."""


class Planned(NamedTuple):
    """One path."""

    act: Act
    path: bytes
    why: str = ""

    def line(self) -> str:
        """One printable line: the act, then the path."""
        return f"{self.act:<6} {escape(self.path)}{f': {self.why}' if self.why else ''}"


class AdoptionCounts(NamedTuple):
    """What adoption would make of a replica, in paths."""

    kept: int
    fetched: int
    aside: int

    def __str__(self) -> str:
        return (
            f"adopting it would keep {self.kept:,} paths that are equal, fetch {self.fetched:,} that are missing or differ, and"
            f" set {self.aside:,} aside in .treecast/aside for 7 days (extra, or with another content)"
        )


def preview(
    source: Path,
    replica: Path,
    patterns: Patterns,
    metadata: Metadata,
    is_published: Callable[[Collection[bytes]], set[bytes]],
    large_limit_bytes: int,
) -> Iterator[Planned]:
    """Every path that would be touched, once. `replica` may be missing. `is_published`: which paths our state put there.
    `large_limit_bytes`: larger files are not carried."""
    differences = _differences(source, replica, patterns, metadata, Tally())
    while chunk := list(islice(differences, _CHUNK_DIFFERENCES)):
        published = is_published([one.path for one in chunk if What.EXTRA in one.what])
        for difference in chunk:
            if not (patterns and difference.is_directory and _holds_protected(difference, replica, patterns)):
                yield _planned(difference, source, published, large_limit_bytes)


def count_adoption(source: Path, replica: Path, patterns: Patterns, metadata: Metadata) -> AdoptionCounts:
    """See `AdoptionCounts`."""
    tally, found = Tally(), Counter[str]()
    for difference in _differences(source, replica, patterns, metadata, tally):
        if What.MISSING in difference.what:
            found["missing"] += 1
        elif What.EXTRA in difference.what:
            found["extra"] += 1
        elif not _OTHER_CONTENT.isdisjoint(difference.what):
            found["differing"] += 1
    kept = tally.paths - found.total()
    return AdoptionCounts(kept, found["missing"] + found["differing"], found["extra"] + found["differing"])


def _differences(
    source: Path, replica: Path, patterns: Patterns, metadata: Metadata, tally: Tally
) -> Iterator[Difference]:
    if replica.is_dir():
        yield from compare_trees(os.fsencode(source), os.fsencode(replica), patterns, tally, metadata)
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="treecast-") as nothing:
        yield from compare_trees(os.fsencode(source), os.fsencode(nothing), patterns, tally, metadata)


def _planned(difference: Difference, source: Path, published: set[bytes], large_limit_bytes: int) -> Planned:
    path, what = difference.path, difference.what
    if What.EXTRA in what:
        return Planned(Act.DELETE if path in published else Act.ASIDE, path)
    if What.UNREADABLE in what or What.NOT_CARRIED in what:
        return Planned(Act.PROBLEM, path, difference.detail)
    why = _cannot_be_carried(os.path.join(os.fsencode(source), path), large_limit_bytes)
    if why:
        return Planned(Act.PROBLEM, path, why)
    return Planned(Act.CREATE if What.MISSING in what else Act.MODIFY, path)


def _holds_protected(difference: Difference, replica: Path, patterns: Patterns) -> bool:
    """Whether it is an extra directory that stays, because of what is protected in it."""
    if What.EXTRA not in difference.what:
        return False
    root = os.fsencode(replica)
    for directory, directories, files in os.walk(os.path.join(root, difference.path)):
        here = os.path.relpath(directory, root)
        if any(patterns.excludes(join(here, name), True) for name in directories):
            return True
        if any(patterns.excludes(join(here, name), False) for name in files):
            return True
    return False


def _cannot_be_carried(path: bytes, large_limit_bytes: int) -> str:
    try:
        found = os.lstat(path)
    except OSError:
        return ""
    kind = kind_of(found)
    if kind not in _CARRIED:
        return f"a {kind} is not carried"
    if stat.S_ISREG(found.st_mode) and found.st_size > large_limit_bytes:
        return f"too large: {found.st_size:,} bytes, the limit is {large_limit_bytes:,}"
    return ""
