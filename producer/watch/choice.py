"""Chooses how a tree is watched: by the system, and by the file system that holds it. It watches nothing itself."""

import ctypes
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from common.errors import NoRoomError, SettingError, UnreachableError
from common.names import ROOT
from common.patterns import Patterns
from producer.watch.port import Hint, Watch

log = logging.getLogger("treecast")

WatchKind = Literal["auto", "inotify", "observer", "scan"]
SETTING = "TREECAST_WATCH"

SHARED = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x517B: "SMB",
    0x00C36400: "CephFS",
    0x65735546: "FUSE",
    0x01021997: "9p",
    0x47504653: "GPFS",
    0x0BD00BD0: "Lustre",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x7461636F: "OCFS2",
    0x01161970: "GFS2",
    0x786F4256: "a shared folder",
}
"""File systems that other hosts, or a host around this one, may write without a word to us: by statfs's `f_type`."""


class NoWatch:
    """The watch port without a watcher: scans alone see changes."""

    def __init__(self, wake: Callable[[], None], why: str) -> None:
        self.wake = wake
        self._why = why

    def start(self) -> None:
        """Nothing to start."""

    def drain(self) -> list[Hint]:
        """Never any hints."""
        return []

    def overflows(self) -> int:
        """Nothing is lost where nothing is told."""
        return 0

    def uncovered(self) -> dict[bytes, str]:
        """The whole tree, and why."""
        return {ROOT: self._why}

    def mark(self) -> int | None:
        """None: nothing is told."""
        return None

    def is_past(self, mark: int) -> bool:
        """There are no marks."""
        return True

    def is_alive(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing to end."""


def choose_watch(
    root: str | bytes,
    patterns: Patterns,
    wake: Callable[[], None],
    kind: WatchKind = "auto",
    marks: Path | None = None,
) -> Watch:
    """The watcher for a tree, not started yet. `marks`: a directory of ours, outside the tree, for its marks.

    `auto`: inotify on Linux, watchdog elsewhere, none where inotify cannot be had (the reason is its `uncovered`). On a file
    system that others write too, inotify sees this host's changes only: the root is then uncovered, with the reason.
    Raises SettingError when the kind that was asked for by name cannot be had.
    """
    if kind == "scan":
        return NoWatch(wake, "not watched, as set")
    if kind == "observer" or (kind == "auto" and not sys.platform.startswith("linux")):
        from producer.watch.observer import ObserverWatch

        return ObserverWatch(root, patterns, wake)
    from producer.watch.inotify import InotifyWatch

    shared = shared_file_system(root)
    caveat = f"on {shared}: changes by other hosts are not told" if shared else ""
    try:
        return InotifyWatch(root, patterns, wake, caveat=caveat, marks=marks)
    except (NoRoomError, UnreachableError) as error:
        if kind == "inotify":
            raise SettingError(SETTING, kind, f"auto, observer or scan here ({error})") from error
        log.warning("the source is not watched, only scanned: %s", error)
        return NoWatch(wake, str(error))


def shared_file_system(path: str | bytes) -> str | None:
    """The name of the path's file system if other hosts may write it; None for a local one, or where nobody knows."""
    return SHARED.get(file_system_type(path))


def file_system_type(path: str | bytes) -> int:
    """What statfs says as `f_type`, on Linux; 0 where it cannot be had."""
    if not sys.platform.startswith("linux"):
        return 0
    answer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), answer) != 0:
        return 0
    return int(ctypes.c_ulong.from_buffer(answer).value) & 0xFFFFFFFF
