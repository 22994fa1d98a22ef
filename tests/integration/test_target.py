"""The replica's disk in good weather: taking it, staging, swapping, setting aside, letting it go."""

import os
import stat
import time
from pathlib import Path

import pytest

from common.digests import content_digest
from common.entries import directory_entry, file_entry, symlink_entry
from common.errors import AlreadyRunningError, HaltError, SettingError
from common.patterns import Patterns
from consumer.stagefiles import Age, new_mark, new_token
from consumer.target import Target
from consumer.values import Found, Plan, Reason, Touch
from tests.disk import MTIME_NS, carry_out, file_put, link_put, make, paths_of, read_tree, run, taken


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "target"


def aside_of(root: Path) -> dict[bytes, tuple[object, ...]]:
    """What stands aside, by original path, whatever place it is in."""
    shelf = root / ".treecast/aside"
    return {
        path: seen for place in (shelf.iterdir() if shelf.exists() else ()) for path, seen in read_tree(place).items()
    }


def test_a_plan_makes_directories_files_and_links_with_their_modes_and_times(root: Path) -> None:
    with taken(root) as target:
        outcome = carry_out(
            target,
            directories=(make(b"d", 0o750), make(b"d/e", 0o500)),
            contents=(file_put(b"d/e/f", b"body", 0o640), file_put(b"empty", b"", 0o444), link_put(b"l", b"d/e/f")),
        )
    assert not outcome.unmet
    assert read_tree(root) == {
        b"d": ("directory", 0o750),
        b"d/e": ("directory", 0o500),
        b"d/e/f": ("file", 0o640, MTIME_NS, b"body"),
        b"empty": ("file", 0o444, MTIME_NS, b""),
        b"l": ("symlink", b"d/e/f"),
    }


def test_modes_do_not_depend_on_the_umask(root: Path) -> None:
    old = os.umask(0o077)
    try:
        with taken(root) as target:
            carry_out(target, directories=(make(b"d", 0o777),), contents=(file_put(b"f", b"x", 0o666),))
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o777
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o666


def test_setuid_and_sticky_bits_never_reach_the_disk(root: Path) -> None:
    with taken(root) as target:
        put = file_put(b"f", b"x")
        carry_out(
            target, contents=(put._replace(entry=put.entry._replace(mode=0o6755)),), directories=(make(b"d", 0o1777),)
        )
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "d").stat().st_mode) == 0o777


def test_removals_clear_the_way_before_and_tidy_up_after(root: Path) -> None:
    with taken(root) as target:
        carry_out(
            target, directories=(make(b"a"), make(b"b")), contents=(file_put(b"a/x", b"1"), file_put(b"b/y", b"2"))
        )
        carry_out(
            target,
            2,
            clear=(b"a/x", b"a"),
            contents=(file_put(b"a", b"now a file"),),
            remove=(b"b/y", b"b", b"never was"),
        )
    assert read_tree(root) == {b"a": ("file", 0o644, MTIME_NS, b"now a file")}


def test_a_file_becomes_a_directory(root: Path) -> None:
    with taken(root) as target:
        carry_out(target, contents=(file_put(b"a", b"1"),))
        carry_out(target, 2, directories=(make(b"a"),), contents=(file_put(b"a/x", b"2"),))
    assert read_tree(root) == {b"a": ("directory", 0o755), b"a/x": ("file", 0o644, MTIME_NS, b"2")}


def test_a_touch_changes_mode_and_time_in_place(root: Path) -> None:
    with taken(root) as target:
        carry_out(target, contents=(file_put(b"f", b"body"),))
        inode = (root / "f").stat().st_ino
        carry_out(target, 2, contents=(Touch(b"f", file_entry(0o600, 5, 4, content_digest(b"body"))),))
    assert read_tree(root) == {b"f": ("file", 0o600, 5, b"body")}
    assert (root / "f").stat().st_ino == inode


def test_a_touch_of_what_is_not_there_asks_for_the_body(root: Path) -> None:
    """Missing, of another size, of another kind: the content must come anew."""
    with taken(root) as target:
        (root / "short").write_bytes(b"b")
        (root / "link").symlink_to("short")
        os.mkfifo(root / "fifo")
        entry = file_entry(0o600, 5, 4, content_digest(b"body"))
        touches = tuple(Touch(path, entry) for path in (b"gone", b"short", b"link", b"fifo", b"no/dir"))
        outcome = carry_out(target, contents=touches)
    assert {path: unmet.reason for path, unmet in outcome.unmet.items()} == {
        touch.path: Reason.BODY for touch in touches
    }


def test_carried_out_twice_is_as_once(root: Path) -> None:
    """A plan may be staged and swapped again after a crash at any point."""
    plan = Plan(
        clear=(b"old/x", b"old"),
        directories=(make(b"d", 0o700),),
        contents=(file_put(b"d/f", b"1"), file_put(b"old", b"2"), link_put(b"l", b"x")),
        remove=(b"gone",),
    )
    with taken(root) as target:
        (root / "old").mkdir()
        (root / "old/x").write_bytes(b"")
        (root / "gone").write_bytes(b"")
        assert not run(target, plan).unmet
        once = read_tree(root)
        assert not run(target, plan).unmet
    assert read_tree(root) == once


def test_an_abandoned_staging_leaves_nothing_behind(root: Path) -> None:
    with taken(root) as target:
        target.stage(Plan(contents=(file_put(b"f", b"x"),), touched=frozenset({b"f"})), 1, b"t")
        carry_out(target, contents=(file_put(b"g", b"y"),))
        assert os.listdir(root / ".treecast/stage") == []
    assert set(read_tree(root)) == {b"g"}


def test_the_plan_tells_what_a_killed_process_was_about_to_do(root: Path) -> None:
    target = taken(root)
    plan = Plan(contents=(file_put(b"f", b"x"),), touched=frozenset({b"f", b"weird \n\xff"}))
    target.stage(plan, 7, b"token")
    target.close()
    with Target.open(root) as again:
        left = again.left_plan()
        assert left is not None
        assert (left.number, left.paths) == (7, plan.touched)
        assert again.age() == Age(0, b"")


def test_the_position_moves_with_the_names(root: Path) -> None:
    with taken(root) as target:
        plan = Plan(contents=(file_put(b"f", b"x"),), touched=frozenset({b"f"}))
        staged = target.stage(plan, 1, b"token")
        assert target.age() == Age(0, b"")
        target.swap(plan, staged)
        assert target.age() == Age(1, b"token")
        target.finish_plan()
        assert target.left_plan() is None


def test_a_second_plan_may_not_bury_one_that_was_left(root: Path) -> None:
    """What the first may have touched would be forgotten with the second's commit."""
    with taken(root) as target:
        plan = Plan(contents=(file_put(b"f", b"x"),), touched=frozenset({b"f"}))
        target.swap(plan, target.stage(plan, 1, b"token"))
        with pytest.raises(HaltError):
            target.stage(Plan(remove=(b"g",), touched=frozenset({b"g"})), 1, b"token")
        target.stage(plan, 1, b"token")
        target.settle(Age(0, b""))
        target.stage(Plan(remove=(b"g",), touched=frozenset({b"g"})), 1, b"token")


# -- scanning


def test_a_scan_shows_everything_that_a_tree_can_carry(root: Path) -> None:
    with taken(root) as target:
        carry_out(target, directories=(make(b"d"),), contents=(file_put(b"d/\xff\n", b"1"), link_put(b"l", b"/etc")))
        (root / "lost+found").mkdir()
        (root / "d/lost+found").mkdir()
        os.mkfifo(root / "fifo")
        others: list[bytes] = []
        found = list(target.scan(others))
        assert others == [b"fifo"]
        assert {f.path: f.entry for f in found} == {
            b"d": directory_entry(0o755),
            b"d/\xff\n": file_entry(0o644, MTIME_NS, 1, content_digest(b"1")),
            b"d/lost+found": directory_entry((root / "d/lost+found").stat().st_mode),
            b"l": symlink_entry(4, content_digest(b"/etc")),
        }
        survey = target.survey()
        assert (survey.files, survey.directories, survey.symlinks, survey.others) == (1, 2, 1, 1)
        paths = [b"d/\xff\n", b"l", b"no", b"fifo", b"l/passwd", b"d/\xff\n/x"]
        assert target.look(paths) == {f.path: f.entry for f in found if f.path in paths}


def test_what_is_protected_is_neither_seen_nor_touched(root: Path) -> None:
    patterns = Patterns(["*.log", "/cache/"])
    with taken(root, protects=patterns.excludes) as target:
        for path in ("cache/deep/x", "d/keep.log", "d/sub/keep.log", "d/sub/foreign", "e/x.log"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(b"mine")
        assert sorted(f.path for f in target.scan()) == [b"d", b"d/sub", b"d/sub/foreign", b"e"]
        outcome = carry_out(target, remove=(b"d/sub", b"d", b"e"), contents=(file_put(b"cache/new", b"x"),))
    assert set(outcome.kept) == {b"d/sub", b"d", b"e"}
    assert outcome.aside == (b"d/sub/foreign",)
    assert outcome.unmet[b"cache/new"].reason is Reason.PROBLEM
    assert [p for p in sorted(read_tree(root)) if b"." in p or b"cache" in p] == [
        b"cache", b"cache/deep", b"cache/deep/x", b"d/keep.log", b"d/sub/keep.log", b"e/x.log"
    ]  # fmt: skip
    assert aside_of(root)[b"d/sub/foreign"][3] == b"mine"


def test_a_target_that_holds_only_what_is_nobodys_or_protected_is_empty(root: Path) -> None:
    root.mkdir()
    (root / "lost+found").mkdir()
    (root / "x.log").write_bytes(b"")
    with Target.open(root, Patterns(["*.log"]).excludes) as target:
        assert target.is_empty()
    with Target.open(root) as target:
        assert not target.is_empty()


# -- setting aside


def test_foreign_content_goes_aside_with_its_path_mode_and_time(root: Path) -> None:
    with taken(root) as target:
        (root / "d").mkdir(mode=0o700)
        (root / "d/f").write_bytes(b"precious")
        (root / "d/f").chmod(0o600)
        os.utime(root / "d/f", ns=(1, 1))
        outcome = carry_out(target, remove=(b"d/f", b"d"), foreign=frozenset({b"d/f", b"d"}))
    assert outcome.aside == (b"d/f", b"d")
    assert read_tree(root) == {}
    assert aside_of(root) == {b"d": ("directory", 0o700), b"d/f": ("file", 0o600, 1, b"precious")}


def test_nothing_that_stands_aside_is_ever_overwritten(root: Path) -> None:
    with taken(root) as target:
        for body in (b"first", b"second", b"third"):
            (root / "f").write_bytes(body)
            carry_out(target, remove=(b"f",), foreign=frozenset({b"f"}))
        (root / "f").mkdir()
        (root / "f/below").write_bytes(b"fourth")
        carry_out(target, remove=(b"f/below", b"f"), foreign=frozenset({b"f", b"f/below"}))
    bodies = {p.read_bytes() for p in (root / ".treecast/aside").rglob("*") if p.is_file()}
    assert bodies == {b"first", b"second", b"third", b"fourth"}


def test_a_foreign_file_gives_way_to_a_published_one(root: Path) -> None:
    with taken(root) as target:
        (root / "f").write_bytes(b"foreign")
        (root / "sub").write_bytes(b"foreign too")
        carry_out(
            target,
            directories=(make(b"sub"),),
            contents=(file_put(b"f", b"published"), file_put(b"sub/x", b"1")),
            foreign=frozenset({b"f", b"sub", b"not there"}),
        )
    assert read_tree(root)[b"f"][3] == b"published"
    assert {path: seen[3] for path, seen in aside_of(root).items()} == {b"f": b"foreign", b"sub": b"foreign too"}


def test_each_time_a_place_of_its_own_is_made_also_when_the_clock_says_the_same_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands aside under the same label may be old, and go soon."""
    monkeypatch.setattr(time, "time", lambda: 5.0)
    with taken(root) as target:
        for content in (b"old", b"new"):
            (root / "f").write_bytes(content)
            target.set_aside([b"f"], 7)
        assert sorted(target.shelf.labels()) == [b"5-7", b"5-7-1"]
    assert (root / ".treecast/aside/5-7-1/f").read_bytes() == b"new"


def test_a_released_target_holds_nothing_of_ours(root: Path) -> None:
    with taken(root) as target:
        carry_out(target, contents=(file_put(b"f", b"x"),))
        target.stage(Plan(contents=(file_put(b"g", b"x"),), touched=frozenset({b"g"})), 2, b"t")
        assert target.release() is None
    assert os.listdir(root) == ["f"]


def test_a_released_target_keeps_what_was_set_aside(root: Path) -> None:
    with taken(root) as target:
        (root / "f").write_bytes(b"x")
        carry_out(target, remove=(b"f",), foreign=frozenset({b"f"}))
        assert target.release() == root / ".treecast/aside"
    assert os.listdir(root / ".treecast") == ["aside"]


# -- opening


def test_only_one_process_holds_a_target(root: Path) -> None:
    with taken(root), pytest.raises(AlreadyRunningError, match=f"process {os.getpid()}"):
        Target.open(root)
    Target.open(root).close()


def test_opening_writes_nothing(root: Path) -> None:
    root.mkdir()
    with Target.open(root) as target:
        assert target.mark() is None
        assert target.age() is None
        assert target.left_plan() is None
    assert os.listdir(root) == []


def test_the_mark_stays(root: Path) -> None:
    root.mkdir()
    mark = new_mark("tree", "one")
    with Target.open(root) as target:
        target.take(mark)
    with Target.open(root) as target:
        assert target.mark() == mark
    assert stat.S_IMODE((root / ".treecast").stat().st_mode) == 0o700


@pytest.mark.parametrize("what", ["missing", "file", "symlink", "relative", "root", "home", "roots-home"])
def test_what_no_target_may_be_is_refused(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "real").mkdir()
    (tmp_path / "symlink").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path / "real"))
    paths = {"root": Path("/"), "home": tmp_path / "real", "roots-home": Path("/root"), "relative": Path("real")}
    with pytest.raises(SettingError, match="TREECAST_TARGET"):
        Target.open(paths.get(what, tmp_path / what))


def test_a_large_set_goes_through_one_sync_of_everything(root: Path) -> None:
    """Both barriers pass for one file as for many; and the stage is empty afterwards."""
    with taken(root) as target:
        puts = tuple(file_put(b"f%d" % i, b"%d" % i) for i in range(300))
        assert not carry_out(target, contents=puts).unmet
        assert not carry_out(target, 2, contents=puts[:1]).unmet
    assert len(read_tree(root)) == 300


def test_paths_and_names_at_their_limits_work(root: Path) -> None:
    """A component of 255 bytes, a path of 4,095 bytes, 64 levels, names that a shell would trip over."""
    names = [
        b"-rf",
        b"$(reboot)",
        b"`x`;*",
        b"%s%n",
        b"a\nb",
        b"\xff\xfe",
        b"...",
        b"CON",
        b"x" * 255,
        b"{0.__class__}",
    ]
    long = b"/".join([b"l" * 255] * 15 + [b"m" * 254])
    deep = b"/".join([b"d"] * 64)
    with taken(root) as target:
        above = [long[: 256 * i - 1] for i in range(1, 16)] + [deep[: 2 * i - 1] for i in range(1, 64)]
        puts = tuple(file_put(path, path) for path in [*names, long, deep])
        assert len(long) == 4094
        outcome = carry_out(target, directories=tuple(make(path) for path in above), contents=puts)
        assert not outcome.unmet
        found = {f.path for f in target.scan()}
        assert found == {*names, long, deep, *above}
        again = carry_out(target, 2, remove=(long, deep, *sorted(above, key=len, reverse=True), *names))
        assert not again.unmet
        assert list(target.scan()) == []


def test_touched_paths_cover_what_a_plan_names() -> None:
    plan = Plan(clear=(b"a",), directories=(make(b"b"),), contents=(file_put(b"c", b""),), remove=(b"d",))
    assert paths_of(plan) == {b"a", b"b", b"c", b"d"}
    assert Found(b"a", directory_entry(0o755)).entry.is_directory
    assert len(new_token()) == 16
