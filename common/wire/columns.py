"""Reads columns out of an opened frame: lists of integers in range, texts, and raw values cut by lengths.

Strict and quick: each column is judged as a whole. It knows no message.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from common.digests import DIGEST_BYTES
from common.errors import RefusedError
from common.names import check_row_path, is_name
from common.wire.frame import Contents

LENGTH_LIMIT = 1 << 32
_ONLY_INT = {int}


def read_integers(contents: Contents, name: str, count: int, low: int, high: int) -> list[int]:
    """A column of exactly `count` integers from `low` to `high`; neither floats nor truth values are integers."""
    column = contents.document.get(name)
    if type(column) is not list or len(column) != count:
        raise RefusedError(f"column-{name}", f"not a list of {count}")
    if column and (set(map(type, column)) != _ONLY_INT or min(column) < low or max(column) > high):
        raise RefusedError(f"column-{name}", f"not all integers from {low} to {high}")
    return column


def read_integer(contents: Contents, name: str, low: int, high: int) -> int:
    """One integer from `low` to `high`."""
    value = contents.document.get(name)
    if type(value) is not int or not low <= value <= high:
        raise RefusedError(f"column-{name}", f"not an integer from {low} to {high}")
    return value


def read_text(contents: Contents, name: str, limit_characters: int) -> str:
    """One text of at most `limit_characters`."""
    value = contents.document.get(name)
    if type(value) is not str or len(value) > limit_characters:
        raise RefusedError(f"column-{name}", f"not a text of at most {limit_characters}")
    return value


def read_names(contents: Contents, name: str, limit: int) -> list[str]:
    """At most so many names of replicas, none twice."""
    column = contents.document.get(name)
    if type(column) is not list or len(column) > limit:
        raise RefusedError(f"column-{name}", f"not a list of at most {limit}")
    if not all(type(one) is str and is_name(one) for one in column) or len(set(column)) != len(column):
        raise RefusedError(f"column-{name}", "not all names, or one stands twice")
    return column


def read_document(contents: Contents, name: str) -> dict[str, Any]:
    """One object."""
    value = contents.document.get(name)
    if type(value) is not dict:
        raise RefusedError(f"column-{name}", "not an object")
    return value


def cut_section(contents: Contents, name: str, lengths: Sequence[int]) -> list[bytes]:
    """The values of a section, whose lengths must fill it exactly. No length may be negative."""
    section = contents.sections.get(name)
    ends = list(accumulate(lengths))
    if section is None or (ends[-1] if ends else 0) != len(section):
        raise RefusedError(f"section-{name}", "not as long as its columns say")
    return [section[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=False)]


def cut_paths(contents: Contents, count: int) -> list[bytes]:
    """The paths of a frame, each one that a tree's index may have, none twice. Raises PathError or RefusedError."""
    lengths = read_integers(contents, "paths", count, 0, LENGTH_LIMIT)
    paths = cut_section(contents, "paths", lengths)
    for path in paths:
        check_row_path(path)
    if len(set(paths)) != len(paths):
        raise RefusedError("path-twice")
    return paths


def cut_digests(contents: Contents, count: int) -> list[bytes]:
    """The digests of a frame in which every row has one."""
    return cut_section(contents, "digests", [DIGEST_BYTES] * count)


def read_unique(contents: Contents, name: str, count: int, high: int) -> tuple[int, ...]:
    """A column of integers from 0 to `high`, none twice."""
    column = read_integers(contents, name, count, 0, high)
    if len(set(column)) != count:
        raise RefusedError(f"column-{name}", "one stands twice")
    return tuple(column)
