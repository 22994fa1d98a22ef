"""Does: asks the system about file systems, and about what stands in a state directory. Makes and locks nothing."""

import os
import pwd
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from common.names import STAGE_NAME
from consumer.stagefiles import Mark, decode_mark
from treecast.doctor.disks import Room
from treecast.doctor.kernel import PROC
from treecast.doctor.local_queue import Holder

_MARK_LIMIT_BYTES = 4096


def mounts_text(proc: Path = PROC) -> str:
    """This process's mountinfo; "" where there is none."""
    try:
        return (proc / "self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""


def nearest_there(path: Path) -> Path:
    """The path, or what is nearest above it that is there already. A real path."""
    real = Path(os.path.realpath(path))
    return next(one for one in (real, *real.parents) if one.exists())


def room(path: Path) -> Room:
    """What is left where the path is, or would be."""
    seen = os.statvfs(nearest_there(path))
    return Room(seen.f_bavail * seen.f_frsize, seen.f_favail if seen.f_files else None)


def owner_of(path: Path) -> str:
    """To whom it belongs; "" where it is not there."""
    try:
        return user_name(path.stat().st_uid)
    except OSError:
        return ""


def user_name(uid: int) -> str:
    """A user's name, or the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def mark_of(target: Path) -> Mark | None:
    """The mark in a target's stage; None where there is none, or this user may not see it."""
    try:
        with (target / os.fsdecode(STAGE_NAME) / "mark").open("rb") as file:
            return decode_mark(file.read(_MARK_LIMIT_BYTES))
    except OSError:
        return None


def _read_only(path: Path) -> str:
    return f"file:{quote(os.fsencode(path))}?mode=ro"


@dataclass(frozen=True, slots=True)
class Known:
    """What a database of ours tells of its tree. `mark` and `is_released`: of a replica's only."""

    directories: int
    largest_bytes: int
    mark: str = ""
    is_released: bool = False


def known_by_journal(path: Path) -> Known | None:
    """What a producer's journal knows; None where there is none that can be read."""
    return _known(path, "entry", "SELECT '', 0")


def known_by_state(path: Path) -> Known | None:
    """What a replica's state knows; None where there is none that can be read."""
    return _known(path, "entries", "SELECT mark, is_released FROM standing")


def roster_of(path: Path) -> list[str]:
    """The replicas that a producer's journal knows; none where there is no journal that can be read."""
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(_read_only(path), uri=True, timeout=2.0)) as database:
            return [name for (name,) in database.execute("SELECT name FROM replica ORDER BY name")]
    except sqlite3.Error:
        return []


def _known(path: Path, table: str, standing: str) -> Known | None:
    if not path.is_file():
        return None
    # Through sqlite3 alone, and to be read only: its owner goes on writing.
    try:
        with closing(sqlite3.connect(_read_only(path), uri=True, timeout=2.0)) as database:
            counted = database.execute(f"SELECT coalesce(sum(kind = 2), 0) + 1, coalesce(max(size), 0) FROM {table}")
            directories, largest_bytes = counted.fetchone()
            mark, is_released = database.execute(standing).fetchone() or ("", 0)
    except sqlite3.Error:
        return None
    return Known(directories, largest_bytes, mark, bool(is_released))


def queue_refusal(path: Path, application_id: int) -> str:
    """Why the embedded queue's file cannot be used, or made; "" when it can."""
    if not path.exists():
        place = nearest_there(path.parent)
        return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written to"
    try:
        with closing(sqlite3.connect(_read_only(path), uri=True, timeout=2.0)) as database:
            (found,) = database.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as error:
        return str(error)
    if found not in (0, application_id):
        return "it is not a queue of Treecast's"
    return "" if os.access(path, os.R_OK | os.W_OK) else "it cannot be written to"


def holder_of(lock: Path, proc: Path = PROC) -> Holder:
    """Who holds a lock file, without trying to take it."""
    try:
        inode = lock.stat().st_ino
        lines = (proc / "locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return Holder(False)
    is_held = any(
        len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}")
        for fields in (line.split() for line in lines)
    )
    return Holder(is_held, _holder_name(lock) if is_held else "")


def _holder_name(lock: Path) -> str:
    try:
        text = lock.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return text if text.isprintable() else ""
