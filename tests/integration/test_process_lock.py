"""One process per thing, held by the kernel."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import AlreadyRunningError
from common.lock import ProcessLock, this_process
from tests.waiting import eventually

HOLD = """
import sys, time, pathlib
from common.lock import ProcessLock
ProcessLock(pathlib.Path(sys.argv[1]), "other:1").acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_holder_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    with ProcessLock(tmp_path / "lock", "host:17"):
        second = ProcessLock(tmp_path / "lock")
        with pytest.raises(AlreadyRunningError, match=r"lock is locked by host:17"):
            second.acquire()
        assert not second.is_held


def test_a_released_lock_is_free_and_names_nobody(tmp_path: Path) -> None:
    first = ProcessLock(tmp_path / "lock")
    assert first.try_acquire()
    assert (tmp_path / "lock").read_text() == this_process()
    first.release()
    first.release()
    assert (tmp_path / "lock").read_text() == ""
    assert ProcessLock(tmp_path / "lock").try_acquire()


def test_taking_it_again_is_no_conflict_with_oneself(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    assert lock.try_acquire()
    assert lock.try_acquire()
    lock.release()


def test_a_lock_file_that_was_removed_excludes_nobody_for_ever(tmp_path: Path) -> None:
    with ProcessLock(tmp_path / "lock"):
        (tmp_path / "lock").unlink()
        with ProcessLock(tmp_path / "lock") as second:
            assert second.is_held


def test_a_symlink_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "lock").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        ProcessLock(tmp_path / "lock").acquire()
    assert (tmp_path / "precious").read_text() == "precious"


def test_the_lock_goes_with_its_process_however_it_ends(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        lock = ProcessLock(tmp_path / "lock")
        assert not lock.try_acquire()
        assert lock.rival == "other:1"
    finally:
        holder.kill()
        holder.communicate()
    eventually(lock.try_acquire)
    lock.release()
