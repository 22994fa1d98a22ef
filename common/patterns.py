"""Decides what is excluded, by the rules of gitignore. Excluded means protected: never published, never touched.

Both sides ask the same question with the same answer, so nothing here depends on locale or disk: paths are bytes, and
bytes that are no UTF-8 are matched as themselves. As in git, what is below an excluded directory cannot be taken back in, and a
rule speaks of the very path that it fits: `!a` takes back `a`, and not what another rule excludes in it.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pathspec import GitIgnoreSpec

from common.digests import content_digest
from common.entries import Entry, file_entry
from common.errors import HaltError, SettingError
from common.names import PATTERNS_LIMIT_BYTES, ancestors, escape, parent
from common.pattern_expressions import in_components, without_backtracking

SETTING = "TREECAST_EXCLUDE"
_SLASH = "(?P<ps_d>/)"
_SLASH_OR_END = f"(?:{_SLASH}|$)"
"""How the library's expressions end, but for those of all that is in a directory."""
_UNKNOWN_CLASS = re.compile(r"(?<!\\)\[[!^]?\]?[^\]\\]*(?:\\|\[:)[^\]]*\]")
"""What git knows in a class and the library takes for something else."""
_ANY_DIRECTORY = re.compile(".*/", re.DOTALL)
CACHED_DIRECTORIES = 20_000
"""How many directories' answers are remembered; beyond that they are forgotten and asked anew."""


def document_of(lines: Sequence[str]) -> bytes:
    """The lines as the content of the tree's row at `PATTERNS_PATH`."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def lines_of(document: bytes) -> tuple[str, ...]:
    """The lines that a document holds."""
    return tuple(document.decode("utf-8", "surrogateescape").split("\n")[:-1])


def patterns_of(document: bytes) -> "Patterns":
    """The patterns that came from the master. Raises HaltError for what cannot be used here: without them nobody knows what is
    protected, so nothing may be applied."""
    try:
        return Patterns(lines_of(document))
    except SettingError as error:
        raise HaltError(
            f"the tree's exclude patterns cannot be read here: {error.found}. Another release of Treecast published them: run"
            " the master's release on this machine, or change the pattern on the master"
        ) from error


def row_of(lines: Sequence[str]) -> tuple[Entry, bytes] | None:
    """The tree's row for these patterns, and its content; None where there are none: then there is no row."""
    if not lines:
        return None
    content = document_of(lines)
    return file_entry(0, 0, len(content), content_digest(content)), content


class _Rule(NamedTuple):
    """One line. The library's expressions fit what is below a path too; here each path above is asked about by itself."""

    line: str
    excludes: bool
    expression: re.Pattern[str]
    is_whole: bool
    """Whether it must fit the whole path; else it fits what begins so."""

    def fits(self, text: str, is_directory: bool) -> bool:
        """Whether it speaks of this very path."""
        if self.is_whole:
            return self.expression.fullmatch(text + "/" if is_directory else text) is not None
        return self.expression.match(text) is not None


class Patterns:
    """The exclude patterns of a tree. Answers are the same for equal lines, so a value in all but its cache."""

    def __init__(self, lines: Sequence[str] = ()) -> None:
        """Lines as in a gitignore file: comments, blank lines and `!` included. Raises SettingError for what cannot be used."""
        self.lines = tuple(lines)
        _check_size(self.lines)
        self._rules = _compile(self.lines)
        self._directories: dict[bytes, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excludes(self, path: bytes, is_directory: bool) -> bool:
        """Whether this path, or a directory above it, is excluded. The root (`ROOT`) never is."""
        if not self._rules or not path:
            return False
        if is_directory:
            return self._excludes_directory(path)
        return self._excludes_directory(parent(path)) or self._matches(path, is_directory=False)

    def line_for(self, path: bytes, is_directory: bool) -> str | None:
        """The line that excludes this path, or a directory above it; None: it is not excluded."""
        for one, is_one_directory in [*((above, True) for above in ancestors(path)), (path, is_directory)]:
            rule = self._rule_for(one, is_one_directory)
            if rule is not None and rule.excludes:
                return rule.line
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
            answer = answer or self._matches(directory, is_directory=True)
            self._directories[directory] = answer
        return answer

    def _matches(self, path: bytes, *, is_directory: bool) -> bool:
        rule = self._rule_for(path, is_directory)
        return rule is not None and rule.excludes

    def _rule_for(self, path: bytes, is_directory: bool) -> _Rule | None:
        """The last rule that speaks of this very path."""
        # A NUL is in no path, and a dot in the rules' expressions matches it; a line feed would be their end.
        text = path.decode("utf-8", "surrogateescape").replace("\n", "\0")
        return next((rule for rule in self._rules if rule.fits(text, is_directory)), None)


def _compile(lines: tuple[str, ...]) -> tuple[_Rule, ...]:
    """The rules, the last first; none when no line excludes anything: then nothing is ever matched."""
    for line in lines:
        _check_line(line)
    spec = GitIgnoreSpec.from_lines(map(_said_plainly, lines), backend="simple")
    # The library leaves out empty lines.
    said = zip((line for line in lines if line), spec.patterns, strict=True)
    rules = [_rule(line, p.include, p.regex) for line, p in said if p.include is not None and p.regex is not None]
    return tuple(reversed(rules)) if any(rule.excludes for rule in rules) else ()


def _said_plainly(line: str) -> str:
    """All directories in `d` are `d/**/`: the library takes that for `d` itself."""
    return f"{line}*/" if line.endswith("/**/") and not line.startswith("#") else line


def _rule(line: str, excludes: bool, expression: re.Pattern[str]) -> _Rule:
    if expression.pattern == _SLASH:
        return _Rule(line, excludes, _ANY_DIRECTORY, True)
    is_whole = expression.pattern.endswith((_SLASH, _SLASH_OR_END))
    written = without_backtracking(in_components(expression.pattern))
    return _Rule(line, excludes, re.compile(written, expression.flags), is_whole)


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
    if _UNKNOWN_CLASS.search(line):
        raise SettingError(SETTING, line, f"{allowed}; between [ and ] neither a backslash nor a name as in [:alpha:]")
    try:
        GitIgnoreSpec.from_lines([line], backend="simple")
    except (ValueError, re.error) as error:
        found = escape(line.encode("utf-8", "surrogateescape"))
        raise SettingError(SETTING, found, f"{allowed} ({error})") from error
