"""Decides what is excluded, by the rules of gitignore. Excluded means protected: never published, never touched.

Both sides ask the same question with the same answer, so nothing here depends on locale or disk: paths are bytes, and
bytes that are no UTF-8 are matched as themselves. As in git, what is below an excluded directory cannot be taken back in.
"""

import re
from collections.abc import Sequence

from pathspec import GitIgnoreSpec

from common.digests import content_digest
from common.entries import Entry, file_entry
from common.errors import SettingError
from common.names import PATTERNS_LIMIT_BYTES, ancestors, escape, parent

SETTING = "TREECAST_EXCLUDE"
CACHED_DIRECTORIES = 20_000
"""How many directories' answers are remembered; beyond that they are forgotten and asked anew."""


def document_of(lines: Sequence[str]) -> bytes:
    """The lines as the content of the tree's row at `PATTERNS_PATH`."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def lines_of(document: bytes) -> tuple[str, ...]:
    """The lines that a document holds."""
    return tuple(document.decode("utf-8", "surrogateescape").split("\n")[:-1])


def row_of(lines: Sequence[str]) -> tuple[Entry, bytes] | None:
    """The tree's row for these patterns, and its content; None where there are none: then there is no row."""
    if not lines:
        return None
    content = document_of(lines)
    return file_entry(0, 0, len(content), content_digest(content)), content


class Patterns:
    """The exclude patterns of a tree. Answers are the same for equal lines, so a value in all but its cache."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        """Lines as in a gitignore file: comments, blank lines and `!` included. Raises SettingError for what cannot be used."""
        self.lines = tuple(lines)
        _check_size(self.lines)
        self._spec = _compile(self.lines)
        self._directories: dict[bytes, bool] = {}

    def __bool__(self) -> bool:
        return self._spec is not None

    def excludes(self, path: bytes, is_directory: bool) -> bool:
        """Whether this path, or a directory above it, is excluded. The root (`ROOT`) never is."""
        if self._spec is None or not path:
            return False
        if is_directory:
            return self._excludes_directory(path)
        return self._excludes_directory(parent(path)) or self._matches(path)

    def line_for(self, path: bytes, is_directory: bool) -> str | None:
        """The line that excludes this path, or a directory above it; None: it is not excluded."""
        if self._spec is None:
            return None
        for one in [*(above + b"/" for above in ancestors(path)), path + b"/" * is_directory]:
            found = self._spec.check_file(_text(one))
            if found.include and found.index is not None:
                return [line for line in self.lines if line][found.index]
        return None

    def _excludes_directory(self, path: bytes) -> bool:
        """The same for a directory, remembered. Not recursive in depth: a path may have 1,024 components."""
        unknown: list[bytes] = []
        answer: bool | None = False
        while path and (answer := self._directories.get(path)) is None:
            unknown.append(path)
            path = parent(path)
        answer = bool(answer)
        if len(self._directories) + len(unknown) > CACHED_DIRECTORIES:
            self._directories.clear()
        for directory in reversed(unknown):
            answer = answer or self._matches(directory + b"/")
            self._directories[directory] = answer
        return answer

    def _matches(self, path: bytes) -> bool:
        return self._spec is not None and self._spec.match_file(_text(path))


def _text(path: bytes) -> str:
    # A NUL is in no path, and a dot in the rules' expressions matches it; a line feed would be their end.
    return path.decode("utf-8", "surrogateescape").replace("\n", "\0")


def _compile(lines: tuple[str, ...]) -> GitIgnoreSpec | None:
    """None when no line excludes anything: then nothing is ever matched."""
    for line in lines:
        _check_line(line)
    spec = GitIgnoreSpec.from_lines(lines, backend="simple")
    return spec if any(pattern.include for pattern in spec.patterns) else None


def _check_size(lines: tuple[str, ...]) -> None:
    size_bytes = len(document_of(lines))
    if size_bytes > PATTERNS_LIMIT_BYTES:
        raise SettingError(
            SETTING, f"{size_bytes:,} bytes", f"patterns of at most {PATTERNS_LIMIT_BYTES:,} bytes in all"
        )


def _check_line(line: str) -> None:
    allowed = "one gitignore rule, such as *.tmp or /cache/"
    if "\n" in line or "\0" in line:
        raise SettingError(SETTING, line, allowed)
    try:
        GitIgnoreSpec.from_lines([line], backend="simple")
    except (ValueError, re.error) as error:
        found = escape(line.encode("utf-8", "surrogateescape"))
        raise SettingError(SETTING, found, f"{allowed} ({error})") from error
