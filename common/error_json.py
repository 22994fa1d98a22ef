"""Decides how an error of ours is told to another process as JSON, and becomes an error there again. Knows no socket.

{"error": "text", "kind": "StoppedError"}     kind "" for one that only its text tells of
"""

from collections.abc import Mapping
from typing import Any

from common.errors import NeedsUpgradeError, SettingError, StoppedError, TreecastError, UnreachableError

_KINDS: Mapping[str, type[TreecastError]] = {
    kind.__name__: kind for kind in (StoppedError, UnreachableError, NeedsUpgradeError)
}


def told(error: BaseException, text: str) -> dict[str, Any]:
    """The error as JSON, any error. `text`: as a person is told of it."""
    if isinstance(error, SettingError):
        found = error.found if isinstance(error.found, str | int | float) else str(error.found)
        fields = {"setting": error.setting, "found": found, "allowed": error.allowed}
        return {"error": text, "kind": SettingError.__name__, **fields}
    kind = next((name for name, one in _KINDS.items() if isinstance(error, one)), "")
    return {"error": text, "kind": kind}


def error_from(reply: Mapping[str, Any]) -> TreecastError:
    """The error that was told, to be raised: it ends a program as it would have there."""
    text, kind = str(reply.get("error")), str(reply.get("kind"))
    if kind == SettingError.__name__ and "setting" in reply:
        return SettingError(str(reply["setting"]), reply.get("found"), str(reply.get("allowed")))
    return _KINDS.get(kind, TreecastError)(text)
