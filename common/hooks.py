"""Decides what a person's text for a hook means: a command as a list of words, or a URL. Runs nothing.

A command is never given to a shell: its words are split as a shell splits them, and that is all.
"""

import shlex
from typing import NamedTuple
from urllib.parse import urlsplit

HOOK_ALLOWED = "a command (words as in a shell, but no shell runs it), or an http:// or https:// URL without a password"
_SCHEMES = ("http://", "https://")


class HookCommand(NamedTuple):
    """A program and its arguments."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.words[0]


class HookUrl(NamedTuple):
    """Where to send a POST to."""

    url: str

    def __str__(self) -> str:
        return _place_of(self.url)


Hook = HookCommand | HookUrl
"""Its text is fit for a log: no argument, and no query of a URL, for they may hold a secret."""


def parse_hook(given: object) -> Hook:
    """A command as a text or as a list of words, or a URL. Raises ValueError with what is allowed."""
    if isinstance(given, HookCommand | HookUrl):
        return given
    if isinstance(given, str) and given.lower().startswith(_SCHEMES):
        return HookUrl(_checked(given))
    try:
        words = tuple(shlex.split(given)) if isinstance(given, str) else given
    except ValueError as error:
        raise ValueError(f"{HOOK_ALLOWED} ({error})") from error
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError(HOOK_ALLOWED)
    if not words or not words[0]:
        raise ValueError(HOOK_ALLOWED)
    return HookCommand(tuple(words))


def shown(given: object) -> object:
    """What was given as it may be printed: of a URL only where it leads, for a login or a query may be a secret."""
    return _place_of(given) if isinstance(given, str) and given.lower().startswith(_SCHEMES) else given


def _place_of(url: str) -> str:
    scheme, _, rest = url.partition("://")
    address, mark, _ = rest.partition("?")
    host, slash, path = address.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}{mark and '?***'}"


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(HOOK_ALLOWED) from error
    if not parts.hostname or port == 0 or parts.fragment or "@" in parts.netloc:
        raise ValueError(HOOK_ALLOWED)
    if not url.isascii() or any(sign <= " " or sign == "\x7f" for sign in url):
        raise ValueError(HOOK_ALLOWED)
    return url
