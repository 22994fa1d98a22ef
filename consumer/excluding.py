"""Decides what the tree's patterns make of an answer: what is excluded leaves the index and stays on the disk.

An answer does not say why a path is absent. So nothing that it lacks is removed while the patterns are not known here. No disk,
no database.
"""

from collections.abc import Collection, Mapping

from common.names import PATTERNS_PATH
from common.patterns import Patterns, patterns_of
from consumer import agreement
from consumer.planning import matches
from consumer.values import Standing, Told, View


def are_known(standing: Standing, view: View) -> bool:
    """Whether the index knows which patterns the tree has, and their text is here."""
    return agreement.is_known(standing, view, PATTERNS_PATH) and not view.unmet([PATTERNS_PATH])


def first_bucket(standing: Standing, view: View) -> int | None:
    """The bucket to be asked for before others: where the patterns are, while they are not known."""
    return None if are_known(standing, view) else view.bucket_of(PATTERNS_PATH)


def patterns_after(
    standing: Standing, view: View, levelled: Collection[int], want: Mapping[bytes, Told]
) -> Patterns | None:
    """The tree's patterns once these buckets are level and this is taken in; None where they are not known then."""
    told = want.get(PATTERNS_PATH)
    if told is None:
        is_level = view.bucket_of(PATTERNS_PATH) in levelled and not view.unmet([PATTERNS_PATH])
        return view.patterns if is_level or are_known(standing, view) else None
    if told.entry is None:
        return Patterns()
    if told.body is not None and matches(told.entry, told.body):
        return patterns_of(told.body)
    return None


def removes(want: Mapping[bytes, Told]) -> bool:
    """Whether anything would go from the disk."""
    return any(told.entry is None and not told.keep for path, told in want.items() if path != PATTERNS_PATH)


def keeping(view: View, want: dict[bytes, Told], patterns: Patterns | None) -> dict[bytes, Told]:
    """The same, but what the patterns exclude is kept on the disk when it leaves the index."""
    if not patterns:
        return want
    rows = view.rows([path for path, told in want.items() if told.entry is None])
    kept = {path: want[path] for path, row in rows.items() if patterns.excludes(path, row.entry.is_directory)}
    return want | {path: told._replace(keep=True) for path, told in kept.items()}
