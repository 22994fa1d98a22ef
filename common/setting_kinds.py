"""Does: the values that settings of one kind may have: names, paths, patterns, intervals. Knows no setting.

Every function takes what a person gave, or a value that was judged before, and raises ValueError with what is allowed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainValidator

from common import names
from common.errors import SettingError
from common.patterns import Patterns
from common.quantities import TIMES_ALLOWED, parse_seconds
from common.transport.urls import ALLOWED as BROKER_ALLOWED
from common.transport.urls import parse_url

NAME_ALLOWED = "1 to 63 of a-z, 0-9 and -, first and last not -"
PATH_ALLOWED = "an absolute path"
PATTERNS_ALLOWED = (
    "a list in the file, one per line in the environment, repeated on the command line; at most"
    f" {names.PATTERNS_LIMIT_BYTES:,} bytes in all"
)
_SCAN_INTERVAL_MINIMUM_SECONDS = 1.0
_TIMEOUT_MINIMUM_SECONDS = 1.0
_TIMEOUT_LIMIT_SECONDS = 86_400.0
"""A timer fails at a time without end, and a hook that takes longer hangs."""
TIMEOUTS_ALLOWED = f"1 s to 24 h: {TIMES_ALLOWED}"


class PatternsError(ValueError):
    """Patterns that cannot be used: the message is what is allowed, `found` the one that is wrong, or how many bytes they are."""

    def __init__(self, error: SettingError) -> None:
        super().__init__(error.allowed)
        self.found = error.found


def optional(parse: Callable[[Any], Any]) -> PlainValidator:
    """As that function has it, or None where nothing was given."""
    return PlainValidator(lambda given: None if given is None else parse(given))


def parse_name(given: object) -> str:
    """What a tree or a replica may be called."""
    if not isinstance(given, str) or not names.is_name(given):
        raise ValueError(NAME_ALLOWED)
    return given


def parse_broker(given: object) -> str:
    """A broker's URL, as it was given."""
    if not isinstance(given, str):
        raise ValueError(BROKER_ALLOWED)
    try:
        parse_url(given)
    except SettingError as error:
        raise ValueError(error.allowed) from error
    return given


def parse_absolute(given: object) -> Path:
    """An absolute path."""
    if not isinstance(given, str | Path) or not Path(given).is_absolute() or "\0" in str(given):
        raise ValueError(PATH_ALLOWED)
    return Path(given)


def parse_patterns(given: object) -> tuple[str, ...]:
    """Patterns, one for each line that is not empty."""
    lines = given.splitlines() if isinstance(given, str) else given
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise ValueError("gitignore patterns, one per line")
    kept = tuple(line for line in lines if line.strip())
    try:
        return Patterns(kept).lines
    except SettingError as error:
        raise PatternsError(error) from error


def parse_scan_interval(given: object) -> float:
    """Seconds between two scans."""
    seconds = parse_seconds(given)
    if seconds < _SCAN_INTERVAL_MINIMUM_SECONDS:
        raise ValueError(f"at least {_SCAN_INTERVAL_MINIMUM_SECONDS:g} s: {TIMES_ALLOWED}")
    return seconds


def parse_timeout(given: object) -> float:
    """Seconds that something may take."""
    seconds = parse_seconds(given)
    if not _TIMEOUT_MINIMUM_SECONDS <= seconds <= _TIMEOUT_LIMIT_SECONDS:
        raise ValueError(TIMEOUTS_ALLOWED)
    return seconds


def parse_interval_or_off(given: object) -> float | None:
    """Seconds, or None for "off"."""
    return None if given is None or lower(given) == "off" else parse_scan_interval(given)


def lower(given: object) -> object:
    """A text in small letters."""
    return given.lower() if isinstance(given, str) else given


Name = Annotated[str, PlainValidator(parse_name)]
AbsolutePath = Annotated[Path, PlainValidator(parse_absolute)]
OptionalPath = Annotated[Path | None, optional(parse_absolute)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)]
