"""Decides which names are allowed: of paths in a tree, of trees, of replicas. Knows no disk.

A path is bytes relative to the tree's root, components joined by one slash; it need not be UTF-8. The root is `ROOT`,
and is itself part of no tree. The rules are those of a Linux file system, made strict: one spelling for each path.
"""

import re

from common.errors import PathError

ROOT = b""
PATH_LIMIT_BYTES = 4095
COMPONENT_LIMIT_BYTES = 255
COMPONENTS_LIMIT = 1024
STAGE_NAME = b".treecast"
"""The stage at a target's root: reserved, part of no tree."""
PATTERNS_PATH = STAGE_NAME
"""Where the tree's index has its exclude patterns: in the index alone, never on a disk. No other row may stand there."""
PATTERNS_LIMIT_BYTES = 64 * 1024
"""They travel with their event, and so must fit into it."""
NOBODYS_AT_ROOT = frozenset({STAGE_NAME, b"lost+found"})
"""Names that belong to nobody, at a root only: never published, never touched."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(rb"(?:(?!\.{1,2}(?:/|\Z))[^/\x00]{1,255}(?:/(?!\Z)|\Z))+", re.DOTALL)
_OWNER = re.compile(r"[^:/\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}:[^:/\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udcff]")


def check_path(path: bytes) -> bytes:
    """The path itself, if a tree may hold it.

    Raises PathError with a stable reason otherwise: empty, too long, dot components, doubled or trailing slashes,
    NUL, a component over 255 bytes, over 1,024 components, or a name that is nobody's at the root.
    """
    if not path:
        raise PathError("path-empty")
    if len(path) > PATH_LIMIT_BYTES:
        raise PathError("path-too-long", f"{len(path)} bytes, at most {PATH_LIMIT_BYTES}")
    if _PATH.fullmatch(path) is None:
        raise PathError("path-malformed", escape(path))
    if path.count(b"/") >= COMPONENTS_LIMIT:
        raise PathError("path-too-deep", f"{path.count(b'/') + 1} components, at most {COMPONENTS_LIMIT}")
    if path.partition(b"/")[0] in NOBODYS_AT_ROOT:
        raise PathError("path-reserved", escape(path))
    return path


def is_path(path: bytes) -> bool:
    """Whether a tree may hold this path."""
    try:
        check_path(path)
    except PathError:
        return False
    return True


def check_row_path(path: bytes) -> bytes:
    """The path itself, if a tree's index may have a row there: as `check_path`, and the patterns' own."""
    return path if path == PATTERNS_PATH else check_path(path)


def is_name(name: str) -> bool:
    """Whether a tree or a replica may be called so."""
    return _NAME.fullmatch(name) is not None


def is_owner(owner: str) -> bool:
    """Whether this may name whom an entry belongs to: "user:group", each a number or a name of 1 to 64 characters."""
    return _OWNER.fullmatch(owner) is not None


def parent(path: bytes) -> bytes:
    """The path above; `ROOT` for a path at the top."""
    return path.rpartition(b"/")[0]


def basename(path: bytes) -> bytes:
    """The last component."""
    return path.rpartition(b"/")[2]


def join(directory: bytes, name: bytes) -> bytes:
    """The path of a name in a directory, which may be `ROOT`."""
    return directory + b"/" + name if directory else name


def ancestors(path: bytes) -> list[bytes]:
    """What is above, shallow first, without the root and without the path itself."""
    found = []
    cut = path.find(b"/")
    while cut != -1:
        found.append(path[:cut])
        cut = path.find(b"/", cut + 1)
    return found


def depth(path: bytes) -> int:
    """How many components."""
    return path.count(b"/") + 1 if path else 0


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether the path lies below the directory; everything but the root lies below `ROOT`."""
    return path != directory and (not directory or path.startswith(directory + b"/"))


def range_below(directory: bytes) -> tuple[bytes, bytes]:
    """Half-open byte range that holds exactly the paths below a directory (not the root): for ordered indexes."""
    return directory + b"/", directory + b"0"


def escape(path: bytes) -> str:
    """One printable line for a person or a log: control and direction characters and bytes that are no UTF-8 as \\xNN."""
    text = path.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    return _UNPRINTABLE.sub(_escape_one, text)


def _escape_one(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match.group().encode("utf-8", "surrogateescape"))
