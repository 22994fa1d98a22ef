"""The replica's disk in bad weather: whatever stands, moves or fails there, nothing outside the target changes."""

import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.digests import content_digest
from common.entries import file_entry
from common.errors import HaltError, NoRoomError, SettingError
from consumer import barrier, survey
from consumer.stagefiles import Age, new_mark
from consumer.target import Target
from consumer.values import Plan, Reason, Touch
from tests.disk import MTIME_NS, carry_out, file_put, link_put, make, paths_of, read_tree, run, taken

is_root = os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="needs root (mounts, immutable files, other users)")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the target; it must be as it was when the test is over."""
    directory = tmp_path / "outside"
    (directory / "sub").mkdir(parents=True)
    for name in ("f", "sub/f"):
        (directory / name).write_bytes(b"outside")
        os.utime(directory / name, ns=(7, 7))
    before = read_tree(directory)
    yield directory
    assert read_tree(directory) == before


def bodies(root: Path) -> dict[bytes, object]:
    """Path to content, of files only."""
    return {path: seen[3] for path, seen in read_tree(root).items() if seen[0] == "file"}


# -- links


def test_a_parent_that_was_replaced_by_a_symlink_is_made_a_directory_again(root: Path, outside: Path) -> None:
    with taken(root) as target:
        (root / "d").symlink_to(outside)
        (root / "e").symlink_to(outside / "sub")
        outcome = carry_out(
            target, contents=(file_put(b"d/f", b"in"), file_put(b"d/sub/f", b"in")), remove=(b"e/f", b"e/sub", b"e")
        )
    assert not outcome.unmet
    assert bodies(root) == {b"d/f": b"in", b"d/sub/f": b"in"}
    assert not (root / "d").is_symlink()


@pytest.mark.parametrize("where", ["outside/f", "nowhere", "target/l"])
def test_a_symlink_at_the_target_name_is_replaced_and_its_target_untouched(
    root: Path, outside: Path, tmp_path: Path, where: str
) -> None:
    with taken(root) as target:
        (root / "l").symlink_to(tmp_path / where)
        assert not carry_out(target, contents=(file_put(b"l", b"in"),)).unmet
    assert read_tree(root) == {b"l": ("file", 0o644, MTIME_NS, b"in")}


def test_a_symlink_where_a_directory_must_be_is_replaced(root: Path, outside: Path) -> None:
    with taken(root) as target:
        (root / "d").symlink_to(outside)
        assert not carry_out(target, directories=(make(b"d", 0o700),), contents=(file_put(b"d/f", b"in"),)).unmet
    assert read_tree(root) == {b"d": ("directory", 0o700), b"d/f": ("file", 0o644, MTIME_NS, b"in")}


def test_a_touch_never_goes_through_a_link(root: Path, outside: Path) -> None:
    """Not through a symlink, nor through a hard link: its other name keeps mode and time."""
    entry = file_entry(0o600, 5, 7, content_digest(b"outside"))
    with taken(root) as target:
        (root / "soft").symlink_to(outside / "f")
        os.link(outside / "f", root / "hard")
        outcome = carry_out(target, contents=(Touch(b"soft", entry), Touch(b"hard", entry)))
    assert set(outcome.unmet) == {b"soft"}
    assert read_tree(root)[b"hard"] == ("file", 0o600, 5, b"outside")
    (root / "soft").unlink()


def test_the_outside_content_of_a_hard_link_stays(root: Path, outside: Path) -> None:
    with taken(root) as target:
        os.link(outside / "f", root / "f")
        os.link(outside / "sub/f", root / "g")
        assert not carry_out(target, contents=(file_put(b"f", b"in"),), remove=(b"g",)).unmet
    assert bodies(root) == {b"f": b"in"}


def test_a_published_symlink_is_carried_and_never_followed(root: Path, outside: Path) -> None:
    with taken(root) as target:
        carry_out(target, contents=(link_put(b"d", os.fsencode(outside)), link_put(b"dangling", b"\xff\xfe/..")))
        assert os.readlink(root / "d") == str(outside)
        outcome = carry_out(target, 2, contents=(file_put(b"d/f", b"in"),), remove=(b"d/sub/f",))
    assert not outcome.unmet
    assert bodies(root) == {b"d/f": b"in"}


def test_nothing_outside_is_touched_while_a_parent_is_swapped_for_a_symlink_back_and_forth(
    root: Path, outside: Path
) -> None:
    """RACE: the attacker flips `d` between a directory and a link to outside as fast as it can."""
    stop = threading.Event()

    def flip() -> None:
        spare, link = root / "spare", root / "link"
        link.symlink_to(outside)
        while not stop.is_set():
            for this, that in ((root / "d", spare), (link, root / "d"), (root / "d", link), (spare, root / "d")):
                try:
                    os.rename(this, that)
                except OSError:
                    continue

    with taken(root) as target:
        carry_out(target, directories=(make(b"d"), make(b"d/sub")))
        attacker = threading.Thread(target=flip)
        attacker.start()
        try:
            for round_number in range(4):
                puts = tuple(file_put(b"d/%s%d" % (below, i), b"in") for i in range(150) for below in (b"f", b"sub/f"))
                touches = (Touch(b"d/f", file_entry(0o600, 5, 7, content_digest(b"outside"))),)
                removed = tuple(put.path for put in puts) if round_number % 2 else ()
                carry_out(
                    target, round_number + 2, contents=(*puts, *touches), remove=(*removed, b"d/f", b"d/sub/f", b"d/sub"),
                    directories=(make(b"d", 0o700), make(b"d/sub", 0o701)),
                )  # fmt: skip
        finally:
            stop.set()
            attacker.join()
        for name in ("link", "spare", "d"):
            if (root / name).is_symlink():
                (root / name).unlink()
        assert not carry_out(target, 99, directories=(make(b"d"),), contents=(file_put(b"d/f", b"in"),)).unmet


# -- other kinds


def test_a_fifo_a_socket_or_a_device_at_the_name_is_replaced_and_never_opened(root: Path) -> None:
    """Opening the fifo would block for ever."""
    with taken(root) as target:
        os.mkfifo(root / "fifo")
        os.mkfifo(root / "dir")
        os.mkfifo(root / "gone")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{target._root}/socket")  # a socket's path may have 107 bytes only
        if is_root:
            os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        names = [b"fifo", b"socket", b"device"]
        outcome = carry_out(
            target,
            directories=(make(b"dir"),),
            contents=tuple(file_put(name, b"in") for name in names),
            remove=(b"gone",),
        )
    assert not outcome.unmet
    assert bodies(root) == dict.fromkeys(names, b"in")
    assert (root / "dir").is_dir()


def test_a_fifo_among_the_ancestors_goes_aside(root: Path) -> None:
    with taken(root) as target:
        os.mkfifo(root / "d")
        outcome = carry_out(target, contents=(file_put(b"d/e/f", b"in"),))
    assert outcome.aside == (b"d",)
    assert bodies(root) == {b"d/e/f": b"in"}


def test_a_directory_where_a_file_must_go_gives_way_and_foreign_files_in_it_go_aside(root: Path) -> None:
    with taken(root) as target:
        (root / "f/deep").mkdir(parents=True)
        (root / "f/deep/precious").write_bytes(b"mine")
        outcome = carry_out(target, contents=(file_put(b"f", b"in"),))
    assert outcome.aside == (b"f/deep",)
    assert bodies(root) == {b"f": b"in"}
    kept = list((root / ".treecast/aside").glob("*/f/deep/precious"))
    assert [path.read_bytes() for path in kept] == [b"mine"]


def test_a_removed_directory_that_holds_foreign_files_goes_and_they_go_aside(root: Path) -> None:
    with taken(root) as target:
        (root / "d").mkdir()
        (root / "d/precious").write_bytes(b"mine")
        os.mkfifo(root / "d/fifo")
        outcome = carry_out(target, remove=(b"d",))
    assert set(outcome.aside) == {b"d/fifo", b"d/precious"}
    assert read_tree(root) == {}


def test_drift_on_the_replica_does_not_stop_a_plan(root: Path) -> None:
    """Whatever somebody removed or turned into another kind: what the plan wants stands there afterwards."""
    with taken(root) as target:
        (root / "was-directory").write_bytes(b"now a file")
        outcome = carry_out(
            target,
            clear=(b"missing/x", b"missing"),
            directories=(make(b"was-directory"), make(b"gone/parent/made")),
            contents=(file_put(b"gone/f", b"in"), file_put(b"was-directory/f", b"in")),
            remove=(b"no/such/thing",),
        )
    assert not outcome.unmet
    assert bodies(root) == {b"gone/f": b"in", b"was-directory/f": b"in"}


# -- permissions


def as_nobody(do: Callable[[Path], None]) -> None:
    """Run it in a child that is not root, in a directory of its own."""
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, 65534, 65534)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as after an exec, /proc/self is ours
            do(directory)
        except BaseException:  # noqa: BLE001  # the child must not come back as a second pytest
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    try:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        shutil.rmtree(directory)


@needs_root
def test_a_directory_whose_mode_forbids_is_opened_for_the_work_and_closed_again() -> None:
    """A read-only directory is a fine thing to publish; its owner must still be able to change what is in it."""

    def work(root: Path) -> None:
        barrier.SYNCFS_SECONDS = 100.0  # each directory is synced by itself, as far as it can be opened
        with taken(root) as target:
            for mode in (0o555, 0o000):
                made = (make(b"d", mode), make(b"d/e", mode))
                outcome = carry_out(target, 1, directories=made, contents=(file_put(b"d/e/f", b"1", 0o000),))
                assert not outcome.unmet, outcome
                outcome = carry_out(target, 2, contents=(file_put(b"d/e/g", b"2"), file_put(b"d/e/f", b"3", 0o400)))
                assert not outcome.unmet, outcome
                outcome = carry_out(
                    target, 3, contents=(Touch(b"d/e/f", file_entry(0o200, 5, 1, content_digest(b"3"))),)
                )
                assert not outcome.unmet, outcome
                assert {found.path for found in target.scan()} == {b"d", b"d/e", b"d/e/f", b"d/e/g"}
                assert stat.S_IMODE((root / "d").stat().st_mode) == mode
                outcome = carry_out(target, 4, remove=(b"d/e/f", b"d/e/g", b"d/e"))
                assert not outcome.unmet, outcome
                assert stat.S_IMODE((root / "d").stat().st_mode) == mode
                assert not carry_out(target, 5, remove=(b"d",)).unmet
            assert read_tree(root) == {}

    as_nobody(work)


@needs_root
def test_somebody_elses_directory_is_a_problem_with_its_exact_path_and_the_rest_goes_on() -> None:
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    (directory / "t").mkdir()
    (directory / "t/roots").mkdir(mode=0o755)
    os.chown(directory / "t", 65534, 65534)

    def work(_: Path) -> None:
        with taken(directory / "t") as target:
            outcome = carry_out(target, contents=(file_put(b"roots/\xff\n", b"1"), file_put(b"mine", b"2")))
            assert outcome.unmet[b"roots/\xff\n"].reason is Reason.PROBLEM
            assert "roots/\\xff\\x0a: Permission denied" in outcome.unmet[b"roots/\xff\n"].detail
            assert bodies(directory / "t") == {b"mine": b"2"}

    try:
        as_nobody(work)
    finally:
        shutil.rmtree(directory)


@needs_root
def test_an_immutable_file_is_a_problem_and_is_repaired_later(root: Path) -> None:
    with taken(root) as target:
        carry_out(target, contents=(file_put(b"f", b"1"),))
        if subprocess.run(["chattr", "+i", root / "f"], capture_output=True, check=False).returncode:
            pytest.skip("this file system has no immutable files")
        try:
            parts: dict[str, Any] = {"contents": (file_put(b"f", b"2"), file_put(b"g", b"2"))}
            outcome = carry_out(target, 2, **parts)
            assert outcome.unmet[b"f"].detail == "f: Operation not permitted"
            assert carry_out(target, 3, remove=(b"f",)).unmet[b"f"].reason is Reason.PROBLEM
            assert bodies(root) == {b"f": b"1", b"g": b"2"}
        finally:
            subprocess.run(["chattr", "-i", root / "f"], check=True)
        assert not carry_out(target, 4, **parts).unmet
        assert bodies(root) == {b"f": b"2", b"g": b"2"}


def test_a_content_that_cannot_be_staged_is_a_problem_of_its_path(root: Path) -> None:
    with taken(root) as target:
        outcome = carry_out(
            target, contents=(link_put(b"nul", b"a\0b"), link_put(b"long", b"x" * 5000), file_put(b"g", b"2"))
        )
    assert set(outcome.unmet) == {b"nul", b"long"}
    assert bodies(root) == {b"g": b"2"}


# -- no room, broken disks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB and 64 inodes."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", str(directory)]
    if not is_root or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


def test_without_space_nothing_is_lost_and_it_goes_on_when_there_is_room(small: Path) -> None:
    with taken(small) as target:
        carry_out(target, contents=(file_put(b"f", b"old"),))
        (small / "hog").write_bytes(b"x" * 150_000)
        new: dict[str, Any] = {"contents": (file_put(b"f", b"y" * 60_000), file_put(b"g", b"z" * 60_000))}
        with pytest.raises(NoRoomError):
            carry_out(target, 2, **new)
        assert bodies(small)[b"f"] == b"old"
        assert os.listdir(small / ".treecast/stage") == []
        (small / "hog").unlink()
        assert not carry_out(target, 2, **new).unmet
        assert bodies(small)[b"g"] == b"z" * 60_000


def test_without_inodes_it_waits_at_any_step(small: Path) -> None:
    with taken(small) as target:
        puts = tuple(file_put(b"d/f%d" % i, b"x") for i in range(20))
        free = os.statvfs(small).f_ffree
        for left_over in range(26):
            hogs = [small / f"hog{i}" for i in range(free - left_over)]
            for hog in hogs:
                hog.touch()
            try:
                carry_out(target, 1, contents=puts, directories=(make(b"d"),))
            except NoRoomError:
                assert os.listdir(small / ".treecast/stage") == [] or target.left_plan() is not None
            finally:
                for hog in hogs:
                    hog.unlink()
            carry_out(target, 1, remove=(*(put.path for put in puts), b"d"), contents=(), directories=())


SYSTEM_CALLS = ["open", "write", "rename", "mkdir", "unlink", "rmdir", "symlink", "utime", "listdir", "fsync"]
EVERYTHING = Plan(
    clear=(b"c/x", b"c"),
    directories=(make(b"d"),),
    contents=(file_put(b"d/f", b"1"), link_put(b"l", b"x"), file_put(b"c", b"2")),
    remove=(b"r/x", b"r"),
)


def prepared(root: Path) -> Target:
    target = taken(root)
    for path in ("c/x", "r/x", "r/foreign"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"")
    return target


class Failing:
    """One system call of `os` that fails from its n-th use on, as often as told."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, number: int, nth: int, times: int = 1000) -> None:
        self.uses, self.failed = 0, 0
        real = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            self.uses += 1
            if nth <= self.uses < nth + times:
                self.failed += 1
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        patch.setattr(os, name, call)


FAULTS = [(name, number) for name in SYSTEM_CALLS for number in (errno.ENOSPC, errno.EIO)]
FAULTS += [("open", errno.EMFILE), ("write", errno.EDQUOT), ("mkdir", errno.EDQUOT), ("rename", errno.EROFS)]


@pytest.mark.parametrize(("name", "number"), FAULTS)
def test_a_fault_of_the_whole_disk_at_any_step_waits_or_halts_and_then_converges(
    name: str, number: int, root: Path
) -> None:
    """Whichever use of whichever call it strikes; afterwards the same plan goes through."""
    halts = number in {errno.EIO, errno.EROFS} or name == "fsync"
    wanted: dict[bytes, tuple[object, ...]] = {}
    for nth in range(1, 60):
        shutil.rmtree(root, ignore_errors=True)
        with prepared(root) as target:
            with pytest.MonkeyPatch.context() as patch:
                failing = Failing(patch, name, number, nth)
                struck = fault_of(target)
            assert (struck is not None) == bool(failing.failed)
            if struck is not None:
                assert isinstance(struck, HaltError if halts else NoRoomError)
            if struck is None or name != "fsync":
                assert not run(target, EVERYTHING).unmet
                wanted = wanted or read_tree(root)
                assert read_tree(root) == wanted
        if struck is None:
            assert nth > 1 or name == "fsync"
            return


def fault_of(target: Target) -> Exception | None:
    """Carry everything out; the error that came of it."""
    try:
        run(target, EVERYTHING)
    except (HaltError, NoRoomError) as error:
        return error
    return None


def test_a_sync_that_failed_is_never_believed_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fsync would say that all is well, although the data is lost."""
    monkeypatch.setattr(barrier, "_syncfs", None)
    with prepared(root) as target:
        failing = Failing(monkeypatch, "fsync", errno.EIO, 1, times=1)
        for _ in range(2):
            with pytest.raises(HaltError):
                run(target, EVERYTHING)
        assert failing.uses == 1


def test_a_syncfs_that_fails_halts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with taken(root) as target:
        monkeypatch.setattr(barrier, "_syncfs", lambda descriptor: -1)
        with pytest.raises(HaltError):
            carry_out(target, contents=tuple(file_put(b"f%d" % i, b"") for i in range(500)))


def test_a_directory_that_cannot_be_read_for_the_disks_sake_halts_a_scan(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreadable disk must not look like an empty one."""
    with prepared(root) as target:
        Failing(monkeypatch, "scandir", errno.EIO, 1)
        with pytest.raises(HaltError):
            list(target.scan())
        assert survey.Survey().is_empty


def test_a_content_that_the_disk_fails_to_read_halts_a_scan(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with prepared(root) as target:
        Failing(monkeypatch, "read", errno.EIO, 1)
        with pytest.raises(HaltError):
            list(target.scan())


def test_descriptors_stay_flat_however_large_the_tree(root: Path) -> None:
    def open_now() -> int:
        return len(os.listdir("/proc/self/fd"))

    most = 0
    real = os.rename

    def counted(*args: object, **kwargs: object) -> None:
        nonlocal most
        most = max(most, open_now())
        real(*args, **kwargs)  # type: ignore[arg-type]  # passed on as given

    with taken(root) as target, pytest.MonkeyPatch.context() as patch:
        before = open_now()
        patch.setattr(os, "rename", counted)
        directories = [b"d%d/e" % i for i in range(400)]
        carry_out(
            target,
            directories=tuple(make(path) for d in directories for path in (d[:-2], d)),
            contents=tuple(file_put(d + b"/f", b"") for d in directories),
        )
        assert most - before < 140
        assert open_now() == before
        assert len(list(target.scan())) == 1200
        assert open_now() == before


# -- the root and the stage


def test_a_root_that_is_renamed_away_while_running_halts(root: Path, tmp_path: Path) -> None:
    with taken(root) as target:
        root.rename(tmp_path / "elsewhere")
        with pytest.raises(HaltError, match="gone"):
            carry_out(target, contents=(file_put(b"f", b"x"),))
        root.mkdir()
        with pytest.raises(HaltError, match="another directory"):
            carry_out(target, contents=(file_put(b"f", b"x"),))
    assert not (tmp_path / "elsewhere/f").exists()
    assert os.listdir(root) == []


def test_a_stage_that_is_a_symlink_is_refused(root: Path, outside: Path) -> None:
    root.mkdir()
    (root / ".treecast").symlink_to(outside)
    with Target.open(root) as target, pytest.raises((SettingError, HaltError)):
        target.take(new_mark("tree", "one"))


@needs_root
def test_a_stage_that_cannot_be_renamed_from_is_refused(root: Path, tmp_path: Path) -> None:
    """A bind mount of the same file system: device numbers are equal, rename says EXDEV."""
    (root / ".treecast").mkdir(parents=True)
    (tmp_path / "bound").mkdir()
    if subprocess.run(["mount", "--bind", tmp_path / "bound", root / ".treecast"], check=False).returncode:
        pytest.skip("bind mounts do not work here")
    try:
        with Target.open(root) as target, pytest.raises(SettingError, match="TREECAST_TARGET"):
            target.take(new_mark("tree", "one"))
        assert os.listdir(root) == [".treecast"]
    finally:
        subprocess.run(["umount", root / ".treecast"], check=True)


@needs_root
def test_a_mount_below_the_target_is_a_problem_of_its_paths_only(root: Path) -> None:
    with taken(root) as target:
        (root / "m").mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root / "m"], check=False).returncode:
            pytest.skip("tmpfs cannot be mounted here")
        try:
            (root / "m/f").write_bytes(b"theirs")
            outcome = carry_out(target, contents=(file_put(b"m/f", b"x"), file_put(b"g", b"x")), remove=(b"m",))
            assert set(outcome.unmet) == {b"m/f", b"m"}
            assert (root / "m/f").read_bytes() == b"theirs"
        finally:
            subprocess.run(["umount", root / "m"], check=True)
    assert bodies(root) == {b"g": b"x"}


def test_left_over_stage_files_are_swept_at_a_start(root: Path) -> None:
    target = taken(root)
    target.stage(Plan(contents=(file_put(b"f", b"x"),), touched=paths_of(Plan())), 1, b"t")
    target.close()
    with Target.open(root) as again:
        again.take()
        again.settle(Age(0, b""))
        assert os.listdir(root / ".treecast/stage") == []
        assert again.left_plan() is None
