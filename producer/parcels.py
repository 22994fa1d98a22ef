"""The bytes between the loop and the process that makes answers, both ways. Decides only how; knows no pipe.

A parcel is its length (4 bytes, big endian), a letter, and what the letter says. Both ends are one program: nothing is versioned,
and what is malformed is a bug.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from producer.answerer import Alarming, Doubted, Made, Noted, Said

_LENGTH = Struct(">I")
_NUMBER = Struct(">Q")
_MADE = Struct(">BBQQqdI")
"""Lengths of kind and replica, then the numbers of `Made`."""


class Asked(NamedTuple):
    """To the process: a question, as it came."""

    question: bytes


class Forget(NamedTuple):
    """To the process: drop what this replica asked."""

    replica: str


class Credit(NamedTuple):
    """To the process: so many more bytes of messages may be sent."""

    bytes: int


class Idle(NamedTuple):
    """From the process: of so many questions that were heard since its start, none waits."""

    heard: int


Parcel = Asked | Forget | Credit | Idle | Said


def pack(parcel: Parcel) -> bytes:
    """The bytes of a parcel."""
    match parcel:
        case Asked(question):
            return _wrap(b"Q", question)
        case Forget(replica):
            return _wrap(b"F", replica.encode())
        case Credit(size_bytes):
            return _wrap(b"C", _NUMBER.pack(size_bytes))
        case Idle(heard):
            return _wrap(b"I", _NUMBER.pack(heard))
        case Doubted(path):
            return _wrap(b"D", path)
        case Alarming(kind, text):
            return _wrap(b"!", f"{kind} {text}".encode(errors="replace"))
        case Noted(text):
            return _wrap(b"N", text.encode(errors="replace"))
        case Made():
            return _wrap(b"A", _made_bytes(parcel))


def unpack(body: bytes) -> Parcel:
    """A parcel from what follows its length."""
    letter, rest = body[:1], body[1:]
    match letter:
        case b"Q":
            return Asked(rest)
        case b"F":
            return Forget(rest.decode())
        case b"C":
            return Credit(*_NUMBER.unpack(rest))
        case b"I":
            return Idle(*_NUMBER.unpack(rest))
        case b"D":
            return Doubted(rest)
        case b"!":
            return Alarming(*rest.decode().split(" ", 1))
        case b"N":
            return Noted(rest.decode())
        case b"A":
            return _made_of(rest)
    raise ValueError(f"no parcel begins with {letter!r}")


def _wrap(letter: bytes, rest: bytes) -> bytes:
    return b"".join((_LENGTH.pack(1 + len(rest)), letter, rest))


def _made_bytes(made: Made) -> bytes:
    kind, replica, epoch, at, asked_ns, waited_seconds, message, answers = made
    names = (kind.encode(), replica.encode())
    fixed = _MADE.pack(len(names[0]), len(names[1]), epoch, at, asked_ns, waited_seconds, answers)
    return b"".join((fixed, *names, message))


def _made_of(rest: bytes) -> Made:
    kind_length, replica_length, epoch, at, asked_ns, waited_seconds, answers = _MADE.unpack_from(rest)
    after_kind = _MADE.size + kind_length
    after_replica = after_kind + replica_length
    kind, replica = rest[_MADE.size : after_kind].decode(), rest[after_kind:after_replica].decode()
    return Made(kind, replica, epoch, at, asked_ns, waited_seconds, rest[after_replica:], answers)


class Cutter:
    """Cuts a stream of bytes into parcels."""

    def __init__(self) -> None:
        self._left = bytearray()

    def cut(self, data: bytes) -> Iterator[Parcel]:
        """The parcels that are complete with these bytes."""
        self._left += data
        start = 0
        while len(self._left) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._left, start)
            end = start + _LENGTH.size + length
            if end > len(self._left):
                break
            yield unpack(bytes(memoryview(self._left)[start + _LENGTH.size : end]))
            start = end
        del self._left[:start]
