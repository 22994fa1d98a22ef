"""Events as columns, and back. It decides whether each row is one that a tree may hold; it knows no header and no disk.

kinds, modes, mtimes, sizes     one integer for each event; all 0 where the path is absent
paths, bodies                   lengths in their sections; -1 for a body that does not travel here
keep                            ascending indexes of the deletes that leave the index only
owners, owner_names             only where an entry has an owner: an index into the names for each event, 0 for "none"
sections                        paths; digests (32 bytes for each file and symlink); bodies
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from common.digests import DIGEST_BYTES
from common.entries import MODE_MASK, SYMLINK_MODE, Entry, Event, Kind
from common.errors import RefusedError
from common.names import PATH_LIMIT_BYTES, PATTERNS_LIMIT_BYTES, PATTERNS_PATH, is_owner
from common.wire.columns import cut_paths, cut_section, read_integers
from common.wire.frame import Contents

_I64_LOW, _I64_HIGH = -(1 << 63), (1 << 63) - 1
_ABSENT = (0, 0, 0, 0, b"", "")
_KINDS = (None, Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK)
_DIGEST_BYTES_OF_KIND = (0, DIGEST_BYTES, 0, DIGEST_BYTES)
_DIRECTORY_ROW = (0, 0, -1)
# A tuple's own constructor skips the Python-level one of the named tuple: half the time, and these are made by the million.
_make_entry = partial(tuple.__new__, Entry)
_make_event = partial(tuple.__new__, Event)


def has_keep(events: Iterable[Event]) -> bool:
    """Whether any delete leaves the index only: such a batch must say that it needs `Need.KEEP`."""
    return any(event.keep for event in events)


def write_events(events: Sequence[Event]) -> Contents:
    """Events as columns. They are taken as they are: a wrong one is refused by the reader."""
    paths = [event[0] for event in events]
    bodies = [event[2] for event in events]
    kinds, modes, mtimes, sizes, digests, owners = _transpose([event[1] or _ABSENT for event in events])
    document = {
        "kinds": list(map(int, kinds)),
        "modes": modes,
        "mtimes": mtimes,
        "sizes": sizes,
        "paths": list(map(len, paths)),
        "bodies": [-1 if body is None else len(body) for body in bodies],
        "keep": [index for index, event in enumerate(events) if event[3]],
    }
    if any(owners):
        document |= _write_owners(owners)
    sections = {
        "paths": b"".join(paths),
        "digests": b"".join(digests),
        "bodies": b"".join([body for body in bodies if body]),
    }
    return Contents(document, sections)


def _transpose(rows: Sequence[tuple[int, int, int, int, bytes, str]]) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [(), (), (), (), (), ()]


def _write_owners(owners: Sequence[str]) -> dict[str, Any]:
    """Few owners have many files: each is named once."""
    names = sorted(set(owners) - {""})
    numbers = {name: number for number, name in enumerate(names, 1)} | {"": 0}
    return {"owners": [numbers[owner] for owner in owners], "owner_names": names}


def read_events(contents: Contents, count: int) -> tuple[Event, ...]:
    """Exactly `count` events, a path never twice. Raises PathError or RefusedError; bodies are not hashed here."""
    kinds = read_integers(contents, "kinds", count, 0, len(_KINDS) - 1)
    modes = read_integers(contents, "modes", count, 0, MODE_MASK)
    mtimes = read_integers(contents, "mtimes", count, _I64_LOW, _I64_HIGH)
    sizes = read_integers(contents, "sizes", count, 0, _I64_HIGH)
    lengths = read_integers(contents, "bodies", count, -1, _I64_HIGH)
    _check_rows(kinds, modes, mtimes, sizes, lengths)
    paths = cut_paths(contents, count)
    _check_patterns(paths, kinds, modes, mtimes, sizes)
    digests = cut_section(contents, "digests", [_DIGEST_BYTES_OF_KIND[kind] for kind in kinds])
    bodies = _cut_bodies(contents, lengths)
    _check_targets(kinds, bodies)
    owners = _read_owners(contents, kinds)
    rows = zip(map(_KINDS.__getitem__, kinds), modes, mtimes, sizes, digests, owners, strict=True)
    entries = [_make_entry(row) if row[0] else None for row in rows]
    return tuple(map(_make_event, zip(paths, entries, bodies, _read_keep(contents, kinds), strict=True)))


def _cut_bodies(contents: Contents, lengths: list[int]) -> list[bytes | None]:
    cuts = cut_section(contents, "bodies", [length if length > 0 else 0 for length in lengths])
    return [None if length < 0 else cut for cut, length in zip(cuts, lengths, strict=True)]


def _check_rows(kinds: list[int], modes: list[int], mtimes: list[int], sizes: list[int], lengths: list[int]) -> None:
    """A body is as long as its entry says; what is no file has only the values that its kind has."""
    for kind, mode, mtime, size, length in zip(kinds, modes, mtimes, sizes, lengths, strict=True):
        if length not in (size, -1):
            raise RefusedError("body-length", f"{length} bytes, the entry says {size}")
        if kind != Kind.FILE:
            _check_row(kind, mode, mtime, size, length)


def _check_row(kind: int, mode: int, mtime: int, size: int, length: int) -> None:
    if kind == Kind.SYMLINK:
        if mode != SYMLINK_MODE or mtime or not 1 <= size <= PATH_LIMIT_BYTES:
            raise RefusedError("symlink-row")
    elif (mtime, size, length) != _DIRECTORY_ROW:
        raise RefusedError("directory-row" if kind else "absent-row")
    elif kind == 0 and mode:
        raise RefusedError("absent-row")


def _check_patterns(
    paths: list[bytes], kinds: list[int], modes: list[int], mtimes: list[int], sizes: list[int]
) -> None:
    """At the patterns' path nothing stands but a document: no mode, no time, and short enough to travel with its event."""
    if PATTERNS_PATH in paths:
        index = paths.index(PATTERNS_PATH)
        is_short = sizes[index] <= PATTERNS_LIMIT_BYTES
        if kinds[index] not in (0, Kind.FILE) or modes[index] or mtimes[index] or not is_short:
            raise RefusedError("patterns-row")


def _check_targets(kinds: list[int], bodies: list[bytes | None]) -> None:
    if Kind.SYMLINK in kinds:
        for kind, body in zip(kinds, bodies, strict=True):
            if kind == Kind.SYMLINK and body and b"\0" in body:
                raise RefusedError("symlink-target")


def _read_owners(contents: Contents, kinds: list[int]) -> Iterable[str]:
    if "owners" not in contents.document:
        return repeat("", len(kinds))
    names = contents.document.get("owner_names")
    if type(names) is not list or not all(type(name) is str and is_owner(name) for name in names):
        raise RefusedError("column-owner_names", "not all user:group")
    numbers = read_integers(contents, "owners", len(kinds), 0, len(names))
    if len(set(names)) != len(names) or set(numbers) - {0} != set(range(1, len(names) + 1)) or not names:
        raise RefusedError("column-owners", "not each name once, and each used")
    if any(number and not kind for number, kind in zip(numbers, kinds, strict=True)):
        raise RefusedError("absent-row", "what is absent has no owner")
    return map(["", *names].__getitem__, numbers)


def _read_keep(contents: Contents, kinds: list[int]) -> Iterable[bool]:
    column = contents.document.get("keep")
    indexes = read_integers(contents, "keep", len(column) if type(column) is list else 0, 0, len(kinds) - 1)
    if not indexes:
        return repeat(False, len(kinds))
    if indexes != sorted(set(indexes)) or any(kinds[index] for index in indexes):
        raise RefusedError("column-keep", "not ascending, or of no delete")
    kept = set(indexes)
    return [index in kept for index in range(len(kinds))]
