"""Does: finds out how processes are: those of this user over their control sockets, one elsewhere over HTTP."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

URL_TIMEOUT_SECONDS = 10.0
ANSWER_LIMIT_BYTES = 64 << 20


def told_by(state: Path | None, tree: str, url: str) -> list[dict[str, Any]]:
    """The status of each process that is meant, at least one. Raises UnreachableError, SettingError."""
    if url:
        return [fetched(url, "/status")]
    from common.control import ControlClient

    tree = tree or os.environ.get("TREECAST_TREE", "")
    return [one.ask("status") for _, one in ControlClient.find_all(state, tree or None, os.environ)]


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
