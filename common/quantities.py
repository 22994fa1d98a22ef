"""Decides what a person's text for a size, a time, a mode or an address means. Knows no setting by name and no disk.

Every function takes what a person gave (text, or a number where the file can hold one) and raises ValueError with what is
allowed, as the end of a sentence.
"""

import re
from dataclasses import replace
from typing import NamedTuple

from common.transport.limits import QueueLimits

SIZES_ALLOWED = "bytes, or a number with KiB, MiB, GiB, TiB, kB, MB, GB or TB"
TIMES_ALLOWED = "seconds, or a number with ms, s, m, h or d"
BANDWIDTH_ALLOWED = f"off, or a size for each second, as in 50MB ({SIZES_ALLOWED})"
LISTEN_ALLOWED = "PORT, :PORT, ADDRESS:PORT or [IPv6]:PORT, with a port of 1 to 65535"
SHARE_ALLOWED = "a percentage, as in 50%"
MODE_ALLOWED = "three octal digits, such as 644"
QUEUE_LIMIT_ALLOWED = f"a size, an age, or both with a comma, as in 1GiB,7d ({SIZES_ALLOWED}; {TIMES_ALLOWED})"

BANDWIDTH_MINIMUM_BYTES = 1000
ASIDE_ALLOWED = f"a time, a share of the free space, or both with a comma, as in 7d,50% ({TIMES_ALLOWED})"

_NUMBER = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)\s*")
_SIZES = {
    "": 1, "b": 1,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_TIMES = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SHARE = re.compile(r"\s*([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%\s*")
_LISTEN = re.compile(r"(?:(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/]*)):)?(?P<port>[0-9]{1,5})")
_PORT_LIMIT = 65_535


class ListenAddress(NamedTuple):
    """Where to listen. `host` "": on every address of this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_size_bytes(given: object) -> int:
    """A size: "1GiB", "10 MB", 4096."""
    number, unit = _split(given, SIZES_ALLOWED)
    factor = _SIZES.get(unit.lower())
    if factor is None:
        raise ValueError(SIZES_ALLOWED)
    return int(number * factor)


def parse_bandwidth_bytes(given: object) -> int | None:
    """A rate, in bytes for each second: "50MB", "1 MiB/s"; None: "off"."""
    if given is None or str(given).strip().lower() == "off":
        return None
    try:
        size_bytes = parse_size_bytes(given.strip().removesuffix("/s") if isinstance(given, str) else given)
    except ValueError:
        size_bytes = 0
    if size_bytes < BANDWIDTH_MINIMUM_BYTES:
        raise ValueError(f"at least 1 kB: {BANDWIDTH_ALLOWED}")
    return size_bytes


def parse_seconds(given: object) -> float:
    """A time: "2s", "500ms", "1h", "7d", 1.5."""
    number, unit = _split(given, TIMES_ALLOWED)
    factor = _TIMES.get(unit)
    if factor is None:
        raise ValueError(TIMES_ALLOWED)
    return number * factor


def parse_share(given: object) -> float:
    """A share, 0 to 1: "50%"."""
    if isinstance(given, float) and 0 <= given <= 1:
        return given
    match = _SHARE.fullmatch(str(given))
    if match is None or float(match[1]) > 100:
        raise ValueError(SHARE_ALLOWED)
    return float(match[1]) / 100


def parse_mode(given: object) -> int:
    """Permissions: "644", "0755", 0o644."""
    text = f"{given:o}" if isinstance(given, int) and not isinstance(given, bool) else given
    if not isinstance(text, str) or not re.fullmatch(r"0?o?[0-7]{3}", text):
        raise ValueError(MODE_ALLOWED)
    return int(text[-3:], 8)


def parse_queue_limit(given: object) -> QueueLimits:
    """A size, an age, or both: "1GiB,7d". What is left out keeps its default. Neither may be zero."""
    if isinstance(given, QueueLimits):
        return given
    limit = QueueLimits()
    for part in str(given).split(","):
        limit = _with_part(limit, part)
    if limit.limit_bytes < 1 or limit.limit_seconds <= 0:
        raise ValueError(QUEUE_LIMIT_ALLOWED)
    return limit


class AsideLimits(NamedTuple):
    """How long something is kept that was set aside, in seconds, and which share of the free space all of it may take."""

    limit_seconds: float
    share: float


def parse_aside(given: object) -> AsideLimits:
    """A time, a share, or both: "7d,50%". What is left out keeps its default."""
    if isinstance(given, AsideLimits):
        return given
    limit_seconds, share = 7 * _TIMES["d"], 0.5
    for part in str(given).split(","):
        number, unit = _split(part.replace("%", "percent"), ASIDE_ALLOWED)
        if unit == "percent" and number <= 100:
            share = number / 100
        elif unit in _TIMES and unit:
            limit_seconds = number * _TIMES[unit]
        else:
            raise ValueError(ASIDE_ALLOWED)
    return AsideLimits(limit_seconds, share)


def _with_part(limit: QueueLimits, part: str) -> QueueLimits:
    try:
        unit = _split(part, QUEUE_LIMIT_ALLOWED)[1]
        # A bare number would be a guess between bytes and seconds.
        if unit in _TIMES and unit:
            return replace(limit, limit_seconds=parse_seconds(part))
        if unit:
            return replace(limit, limit_bytes=parse_size_bytes(part))
    except ValueError:
        pass
    raise ValueError(QUEUE_LIMIT_ALLOWED)


def parse_listen(given: object) -> ListenAddress:
    """An address to listen on: "9100", ":9100", 9100, "127.0.0.1:9100", "[::1]:9100"."""
    if isinstance(given, ListenAddress):
        return given
    match = _LISTEN.fullmatch(str(given).strip())
    if match is None or isinstance(given, bool):
        raise ValueError(LISTEN_ALLOWED)
    port = int(match["port"])
    if not 1 <= port <= _PORT_LIMIT:
        raise ValueError(LISTEN_ALLOWED)
    return ListenAddress(match["six"] or match["host"] or "", port)


def _split(given: object, allowed: str) -> tuple[float, str]:
    match = _NUMBER.fullmatch(str(given))
    if match is None or isinstance(given, bool):
        raise ValueError(allowed)
    return float(match[1]), match[2]
