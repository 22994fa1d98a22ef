"""Does: finds out how processes are: those of this user over their control sockets, one elsewhere over HTTP."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from common.control import ControlClient

URL_TIMEOUT_SECONDS = 10.0
ASKED_AT_ONCE = 32
ANSWER_LIMIT_BYTES = 64 << 20


class Told(NamedTuple):
    """What those say that answer, at least one; and why the others do not."""

    answers: "list[tuple[ControlClient, dict[str, Any]]]"
    silent: list[Exception]


def told_by(state: Path | None, tree: str, url: str) -> tuple[list[dict[str, Any]], list[Exception]]:
    """The status of each process that is meant and answers, at least one; and why others do not. Raises UnreachableError,
    SettingError."""
    if url:
        return [fetched(url, "/status")], []
    told = all_told(state, tree, lambda one: one.ask("status"))
    return [status for _, status in told.answers], told.silent


def all_told(state: Path | None, tree: str, ask: "Callable[[ControlClient], dict[str, Any]]") -> Told:
    """Ask all processes that are meant, at once: one that hangs, ends just now or is older keeps nobody else silent. Raises
    UnreachableError, NeedsUpgradeError where none answers."""
    from common.control import ControlClient
    from common.errors import NeedsUpgradeError, UnreachableError

    tree = tree or os.environ.get("TREECAST_TREE", "")
    clients = [one for _, one in ControlClient.find_all(state, tree or None, os.environ)]

    def tried(client: "ControlClient") -> dict[str, Any] | Exception:
        try:
            return ask(client)
        except (NeedsUpgradeError, UnreachableError) as error:
            return error

    return _sorted_out(clients, tried)


def _sorted_out(
    clients: "Sequence[ControlClient]", tried: "Callable[[ControlClient], dict[str, Any] | Exception]"
) -> Told:
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        told = Told([], [])
        for client, answer in zip(clients, pool.map(tried, clients), strict=True):
            if isinstance(answer, Exception):
                told.silent.append(answer)
            else:
                told.answers.append((client, answer))
    if not told.answers:
        raise told.silent[0]
    return told


def fetched(url: str, path: str) -> dict[str, Any]:
    """What a process answers at its --listen address. Raises UnreachableError, SettingError, and what it tells as an error."""
    from common.errors import SettingError, UnreachableError

    if not url.startswith(("http://", "https://")):
        raise SettingError("--url", url, "http://HOST:PORT, as a process was told with --listen")
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, timeout=URL_TIMEOUT_SECONDS) as answer:
            found = json.loads(answer.read(ANSWER_LIMIT_BYTES))
    except urllib.error.HTTPError as error:
        raise _told_there(error, url) from error
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise UnreachableError(f"nobody answers as a treecast process at {url}{path} ({error})") from error
    if not isinstance(found, dict):
        raise UnreachableError(f"what answers at {url}{path} is no treecast process")
    return found


def _told_there(error: urllib.error.HTTPError, url: str) -> Exception:
    from common.error_json import error_from
    from common.errors import UnreachableError

    with error:
        try:
            told = json.loads(error.read(ANSWER_LIMIT_BYTES))
        except (OSError, ValueError):
            told = None
    if isinstance(told, dict) and "error" in told:
        return error_from(told)
    return UnreachableError(f"what answers at {url} does not tell that ({error})")
