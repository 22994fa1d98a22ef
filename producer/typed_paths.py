"""Does: makes a path in the tree of what a person typed beside the master. Reads symlinks above the source, nothing below it."""

import os

from common.errors import PathError, SettingError
from common.names import ROOT, check_path, escape


def in_tree(typed: bytes, source: bytes) -> bytes:
    """The path in the tree; one below the source may be absolute. Raises SettingError where no tree may hold it."""
    path = typed
    for root in (source, os.path.realpath(source)):
        if typed == root or typed.startswith(root + b"/"):
            path = typed[len(root) :].lstrip(b"/")
            break
    path = os.path.normpath(path) if path not in (ROOT, b".") else ROOT
    if path in (ROOT, b"."):
        return ROOT
    try:
        return check_path(path)
    except PathError as error:
        allowed = "a path in the tree, as in a/b, or an absolute one below the source"
        raise SettingError("PATH", escape(typed), f"{allowed} ({error})") from error
