"""Decides what stands in the three small files of a stage: mark, position, plan. Bytes in, values out; touches no disk.

Position and plan carry a checksum: one that does not hold was never durable, and counts as not there.
"""

import re
import secrets
from collections.abc import Collection
from hashlib import blake2b
from typing import NamedTuple

from consumer.values import LeftPlan

MARK_HEADER = "treecast mark 1"
TOKEN_BYTES = 16
_CHECKSUM_BYTES = 16
_TRIAL = re.compile(rb"\.treecast-trial-[0-9a-f]{16}")
_POSITION = b"treecast position 1"
_PLAN = b"treecast plan 1"


class Mark(NamedTuple):
    """Whose target this is. `id` is random; tree and replica are for people, and against a mix-up of trees."""

    id: str
    tree: str
    replica: str


class Age(NamedTuple):
    """How old state or disk is: the number of the last commit that had a plan, and its random token."""

    number: int
    token: bytes


def new_mark(tree: str, replica: str) -> Mark:
    """A mark that nobody has."""
    return Mark(secrets.token_hex(16), tree, replica)


def new_token() -> bytes:
    """A token that no other commit has."""
    return secrets.token_bytes(TOKEN_BYTES)


def new_trial_name() -> bytes:
    """The name of a file that is renamed from the stage into the root and removed at once, to see that it can be."""
    return b".treecast-trial-" + secrets.token_hex(8).encode()


def is_trial_name(name: bytes) -> bool:
    """Whether a name at a target's root is that of a trial: nobody's; one that a crash left is removed at the next start."""
    return _TRIAL.fullmatch(name) is not None


def encode_mark(mark: Mark) -> bytes:
    """The mark as a small text file."""
    return "\n".join([MARK_HEADER, *mark, ""]).encode()


def decode_mark(text: bytes) -> Mark:
    """The mark; one that cannot be read is nobody's that we know: empty names, and the text as its id."""
    lines = text.decode("utf-8", "backslashreplace").split("\n")
    if len(lines) != 5 or lines[0] != MARK_HEADER or not lines[1]:
        return Mark(f"unreadable {text[:40]!r}", "", "")
    return Mark(*lines[1:4])


def encode_age(age: Age) -> bytes:
    """The content of `position`."""
    return _sealed(_POSITION + b"\n%d\n%b" % (age.number, age.token.hex().encode()))


def decode_age(content: bytes) -> Age | None:
    """The position, None where the checksum does not hold."""
    fields = _unsealed(content, _POSITION, 2)
    return Age(int(fields[0]), bytes.fromhex(fields[1].decode())) if fields is not None else None


def encode_plan(number: int, paths: Collection[bytes]) -> bytes:
    """The content of `plan`: the number of the commit that it is for, and every path that may be touched."""
    return _sealed(_PLAN + b"\n%d\n%b" % (number, b"\0".join(sorted(paths))))


def decode_plan(content: bytes) -> LeftPlan | None:
    """The plan, None where the checksum does not hold: then nothing was swapped for it."""
    fields = _unsealed(content, _PLAN, 2)
    if fields is None:
        return None
    return LeftPlan(int(fields[0]), frozenset(path for path in fields[1].split(b"\0") if path))


def _sealed(text: bytes) -> bytes:
    return blake2b(text, digest_size=_CHECKSUM_BYTES).digest() + text


def _unsealed(content: bytes, header: bytes, fields: int) -> list[bytes] | None:
    checksum, text = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if blake2b(text, digest_size=_CHECKSUM_BYTES).digest() != checksum or not text.startswith(header + b"\n"):
        return None
    return text.split(b"\n", fields)[1:]
