"""`treecast mirror` from end to end: real processes, the embedded queue, real directories."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirrors import Mirror, end, picture, wait_for, write
from tests.waiting import eventually, scaled

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    """A place for a mirror. No child of it may be left when the test has ended."""
    made = Mirror(tmp_path)
    yield made
    try:
        eventually(lambda: not made.children(), 20, "no child is left")
    finally:
        for child in made.children():
            os.kill(child, signal.SIGKILL)


def difficult_tree(root: Path) -> None:
    """Names, kinds, modes and times that are not the usual ones."""
    write(root / "plain")
    write(root / "deep/er/still", "deep")
    write(root / "read-only").chmod(0o400)
    write(root / "run-me", "#!/bin/sh").chmod(0o755)
    write(root / "empty", "")
    (root / "empty-directory").mkdir(mode=0o700)
    (root / "to-nowhere").symlink_to("nowhere/at all")
    (root / "to-the-outside").symlink_to("/etc/passwd")
    (root / "to-itself").symlink_to("to-itself")
    for name in (b"\xff\xfe not utf-8", b"new\nline", b"tab\t$(reboot);*", b"-rf", "é".encode(), "é".encode()):
        (root / os.fsdecode(name)).write_bytes(name)
    os.utime(root / "plain", ns=(1, 123_456_789))


def test_once_makes_replicas_equal_and_leaves_nothing_of_ours(mirror: Mirror) -> None:
    """Everything a tree may hold arrives; a second run needs no adoption and takes over what changed, deletions included."""
    difficult_tree(mirror.source)
    done = mirror.run("--once", mirror.source, mirror.a, mirror.b)
    assert picture(mirror.a) == picture(mirror.b) == picture(mirror.source)
    assert "2 of 2 replicas hold exactly what" in done.stdout
    assert subprocess.run(["diff", "-r", "--no-dereference", mirror.source, mirror.a], check=False).returncode == 0

    (mirror.source / "plain").unlink()
    (mirror.source / "empty-directory").rmdir()
    write(mirror.source / "empty-directory", "now a file")
    write(mirror.source / "deep/er/still", "changed")
    write(mirror.a / "deep/er/still", "spoiled on the replica")
    (mirror.b / "run-me").unlink()
    mirror.run("--once", mirror.source, mirror.a, mirror.b)
    assert picture(mirror.a) == picture(mirror.b) == picture(mirror.source)


def test_metadata_is_carried_as_the_options_say_and_verify_compares_by_the_same(mirror: Mirror) -> None:
    """Links that lead out are problems that are shown, here and in a dry run; modes and owners are those that were asked for."""
    difficult_tree(mirror.source)
    owners = ["--owner=numeric", "--group=4321"] if os.geteuid() == 0 else []
    if owners:
        os.chown(mirror.source / "plain", 1234, 5678)
    told = ["--symlinks=safe", "--dir-mode=711", "--file-mode=640", *owners]
    done = mirror.run("--once", *told, mirror.source, mirror.a, code=1)
    assert "problem at to-the-outside: a link that leads out of the tree" in done.stdout
    assert not (mirror.a / "to-the-outside").is_symlink()
    assert {mode for kind, mode, _, _ in picture(mirror.a).values() if kind == "file"} == {0o640}
    assert (mirror.a / "deep").stat().st_mode & 0o7777 == 0o711
    if owners:
        assert ((mirror.a / "plain").stat().st_uid, (mirror.a / "to-nowhere").lstat().st_gid) == (1234, 4321)

    def verify(*words: str) -> int:
        command = [sys.executable, "-m", "treecast", "verify", *words, str(mirror.source), str(mirror.a)]
        return subprocess.run(command, env=mirror.environ, stdout=subprocess.DEVNULL, check=False).returncode

    assert (verify(*told), verify(*told[1:])) == (0, 1)
    planned = mirror.run("-n", *told, mirror.source, mirror.a).stdout.splitlines()
    assert [line.partition(":")[0] for line in planned[:-1]] == ["problem to-the-outside"]


def test_a_replica_with_other_files_is_refused_with_counts_until_adopted(mirror: Mirror) -> None:
    """The refusal counts what would become of the files and ends with the command that adopts; nothing is deleted by it."""
    for name in ("same", "other", "only-here"):
        write(mirror.source / name)
    mirror.a.mkdir()
    subprocess.run(["cp", "-p", mirror.source / "same", mirror.a / "same"], check=True)
    write(mirror.a / "other", "mine")
    write(mirror.a / "foreign/file", "precious")
    before = picture(mirror.a)

    line = mirror.refusal("--once", mirror.source, mirror.a, code=4)
    assert "keep 1 path" in line
    assert "fetch 2 that" in line
    assert "set 3 aside" in line
    assert line.endswith(f"treecast mirror --once --state={mirror.state} --adopt {mirror.source} {mirror.a}")
    assert picture(mirror.a) == before

    done = mirror.run("--once", "--adopt", mirror.source, mirror.a)
    aside = mirror.a / ".treecast/aside"
    assert str(aside) in done.stdout
    assert sorted(path.read_text() for path in aside.rglob("*") if path.is_file()) == ["mine", "precious"]
    assert [path.name for path in (mirror.a / ".treecast").iterdir()] == ["aside"]
    assert {path: what for path, what in picture(mirror.a).items() if not path.startswith(b".treecast")} == picture(
        mirror.source
    )


def test_only_what_neither_state_nor_source_knows_is_set_aside(mirror: Mirror) -> None:
    """In a second run, what an earlier one put there is deleted with the source's; what somebody else put there is kept aside."""
    write(mirror.source / "stays")
    write(mirror.source / "goes")
    mirror.run("--once", mirror.source, mirror.a)
    (mirror.source / "goes").unlink()
    write(mirror.a / "somebody's", "precious")

    preview = mirror.run("-n", mirror.source, mirror.a).stdout
    assert preview.splitlines()[:2] == ["delete goes", "aside  somebody's"]

    mirror.run("--once", mirror.source, mirror.a)
    kept = [path for path in (mirror.a / ".treecast/aside").rglob("*") if path.is_file()]
    assert [path.name for path in kept] == ["somebody's"]
    assert sorted(path.name for path in mirror.a.iterdir()) == [".treecast", "stays"]


def test_a_dry_run_names_each_path_and_changes_nothing(mirror: Mirror) -> None:
    """One line per path with what would be done, totals, exit code 0; neither replica nor state is made or touched."""
    write(mirror.source / "new\nname")
    write(mirror.source / "other", "theirs")
    write(mirror.a / "other", "mine")
    write(mirror.a / "foreign")
    before = picture(mirror.place)
    done = mirror.run("-n", mirror.source, mirror.a)
    assert done.stdout.splitlines() == [
        "aside  foreign",
        r"create new\x0aname",
        "modify other",
        f"{mirror.a}: 1 to create, 1 to modify, 0 to delete, 1 to set aside (nothing was changed)",
    ]
    assert "a run would refuse this" in done.stderr
    assert mirror.run("-n", "--adopt", mirror.source, mirror.a).stderr == ""
    found = json.loads(mirror.run("-n", "--json", mirror.source, mirror.a, mirror.b).stdout)
    assert [one["totals"]["create"] for one in found["replicas"]] == [1, 2]
    assert [bool(one["refusal"]) for one in found["replicas"]] == [True, False]
    assert picture(mirror.place) == before
    assert not mirror.state.exists()


def test_what_is_excluded_is_not_copied_and_not_touched(mirror: Mirror) -> None:
    """A pattern protects on both sides, given as an option or in TREECAST_EXCLUDE."""
    write(mirror.source / "kept")
    write(mirror.source / "draft.tmp")
    write(mirror.a / "cache/mine.tmp", "precious")
    write(mirror.a / "cache/goes", "foreign")
    mirror.run("--once", "--adopt", "--exclude", "*.tmp", mirror.source, mirror.a)
    assert (mirror.a / "cache/mine.tmp").read_text() == "precious"
    assert not (mirror.a / "draft.tmp").exists()
    assert not (mirror.a / "cache/goes").exists()
    assert (mirror.a / "kept").exists()

    mirror.environ["TREECAST_EXCLUDE"] = "*.tmp\n/kept"
    assert "nothing to do" in mirror.run("-n", mirror.source, mirror.a).stdout


def test_what_cannot_be_carried_is_named_and_the_rest_is_brought_level(mirror: Mirror) -> None:
    """A file over the limit and a fifo are problems with their paths; the exit code is 1, and everything else arrives."""
    mirror.environ["TREECAST_LARGE_LIMIT"] = "3MiB"
    write(mirror.source / "small")
    with (mirror.source / "large").open("wb") as large:
        large.truncate((3 << 20) + 1)
    os.mkfifo(mirror.source / "pipe")
    assert "problem large" in mirror.run("-n", mirror.source, mirror.a).stdout
    done = mirror.run("--once", "--json", mirror.source, mirror.a, code=1)
    result = json.loads(done.stdout)
    assert sorted(one["path"] for one in result["problems"]) == ["large", "pipe"]
    assert result["exit_code"] == 1
    assert [one["level"] for one in result["replicas"]] == [True]
    assert [path.name for path in mirror.a.iterdir()] == ["small"]
    assert "problem at large: " in mirror.run("--once", mirror.source, mirror.a, code=1).stdout


def test_wrong_usage_is_refused_before_anything_is_made(mirror: Mirror) -> None:
    """Another machine, or a place that cannot be, ends with 2 and one line; nothing is made."""
    line = mirror.refusal("--once", mirror.source, "host:/path", code=2)
    assert "treecast produce" in line
    assert "treecast consume" in line
    assert "REPLICA" in mirror.refusal("--once", mirror.source, mirror.source / "inside", code=2)
    assert not mirror.state.exists()
    mirror.state = mirror.source / "state"
    assert "--state" in mirror.refusal("--once", mirror.source, mirror.a, code=2)
    assert not list(mirror.source.iterdir())
    assert not mirror.a.exists()


def test_following_brings_each_change_until_ctrl_c(mirror: Mirror) -> None:
    """Changes and deletions arrive; a second mirror is told who is there; Ctrl-C ends all with 130 and what was copied stays."""
    write(mirror.source / "first", "one")
    process = mirror.start(mirror.source, mirror.a)
    try:
        wait_for(mirror.a / "first", "one")
        (mirror.source / "second").write_text("two")
        wait_for(mirror.a / "second", "two")
        (mirror.source / "first").unlink()
        eventually(lambda: not (mirror.a / "first").exists(), 20, "the deletion arrives")
        assert len(mirror.children()) == 2

        line = mirror.refusal(mirror.source, mirror.b, code=4)
        assert str(process.pid) in line
        assert str(mirror.source) in line
    finally:
        code, output, errors = end(process)
    assert (code, errors) == (130, "")
    assert f"{mirror.a} level, 1 file" in output.splitlines()[-1]
    assert mirror.children() == []
    mirror.run("--once", mirror.source, mirror.a)
    assert picture(mirror.a) == picture(mirror.source)


def test_ctrl_c_ends_a_run_that_is_not_done(mirror: Mirror) -> None:
    """An interrupted --once ends with 130, says nothing about level, and the next run goes on from what is there."""
    for number in range(300):
        write(mirror.source / f"{number % 10}/{number}")
    process = mirror.start("--once", mirror.source, mirror.a)
    try:
        eventually(mirror.children, 20, "its children run")
    finally:
        code, output, _ = end(process)
    assert (code, output) == (130, "")
    mirror.run("--once", mirror.source, mirror.a)
    assert picture(mirror.a) == picture(mirror.source)


def test_a_killed_mirror_takes_its_children_along_and_the_next_one_goes_on(mirror: Mirror) -> None:
    """kill -9 of the command leaves no child; the next run needs no adoption and finds what was spoiled meanwhile.

    JSON lines can be read by a program.
    """
    write(mirror.source / "first", "one")
    write(mirror.source / "stays", "as it is")
    process = mirror.start("--json", mirror.source, mirror.a)
    try:
        lines: list[dict[str, list[dict[str, object]]]] = []
        assert process.stdout is not None
        while not lines or not lines[-1]["replicas"][0]["agreed"]:
            lines.append(json.loads(process.stdout.readline()))
        assert lines[-1]["replicas"][0]["files"] == 2
    finally:
        code, *_ = end(process, signal.SIGKILL)
    assert code == -signal.SIGKILL
    eventually(lambda: not mirror.children(), scaled(20), "the children end")
    (mirror.source / "first").unlink()
    write(mirror.source / "second", "two")
    write(mirror.a / "stays", "spoiled")
    mirror.run("--once", mirror.source, mirror.a)
    assert picture(mirror.a) == picture(mirror.source)


def test_a_child_that_dies_is_named_and_ends_the_command(mirror: Mirror) -> None:
    """When the last consumer is gone there is nothing left to follow: exit code 1, and the line says what happened to whom."""
    write(mirror.source / "first", "one")
    process = mirror.start(mirror.source, mirror.a)
    try:
        wait_for(mirror.a / "first", "one")
        consumers = [one for one in mirror.children() if b"consumer" in Path(f"/proc/{one}/cmdline").read_bytes()]
        os.kill(consumers[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=scaled(30))
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1
    assert f"{mirror.a}: killed by SIGKILL" in errors


def test_variables_of_the_caller_do_not_reach_the_children(mirror: Mirror) -> None:
    """Settings of a service in the environment are not the mirror's: not its tree, its listener, its state or its adoption."""
    write(mirror.source / "file")
    mirror.environ |= {
        "TREECAST_TREE": "other",
        "TREECAST_LISTEN": "127.0.0.1:1",
        "TREECAST_STATE": str(mirror.source),
        "TREECAST_SOURCE": str(mirror.a),
        "TREECAST_ADOPT": "true",
        "STATE_DIRECTORY": str(mirror.source),
    }
    write(mirror.a / "foreign")
    mirror.refusal("--once", mirror.source, mirror.a, code=4)
    mirror.run("--once", mirror.source, mirror.b)
    assert picture(mirror.b) == picture(mirror.source)


def test_an_emptied_source_stops_for_a_person(mirror: Mirror) -> None:
    """A source that is suddenly empty deletes nothing, and the line says what to do if that was meant."""
    write(mirror.source / "file")
    mirror.run("--once", mirror.source, mirror.a)
    (mirror.source / "file").unlink()
    assert "would stop and ask" in mirror.run("-n", mirror.source, mirror.a).stderr
    line = mirror.run("--once", mirror.source, mirror.a, code=4).stderr.splitlines()[-1]
    assert "empty" in line
    assert (mirror.a / "file").exists()
    assert f"treecast mirror --once --state={mirror.state} --release-hold {mirror.source} {mirror.a}" in line
    mirror.run("--once", "--release-hold", mirror.source, mirror.a)
    assert os.listdir(mirror.a) == []


def test_a_replica_whose_volume_is_gone_is_refused(mirror: Mirror) -> None:
    """A replica that carried our mark and is empty now may be an unmounted disk: nothing is written, exit code 4."""
    write(mirror.source / "file")
    process = mirror.start(mirror.source, mirror.a)
    try:
        wait_for(mirror.a / "file", "content")
    finally:
        end(process)
    mirror.a.rename(mirror.b)
    assert "mounted" in mirror.refusal("--once", mirror.source, mirror.a, code=4)
    assert not mirror.a.exists()
    mirror.a.mkdir()
    assert "mounted" in mirror.refusal("--once", mirror.source, mirror.a, code=4)
    assert not list(mirror.a.iterdir())


def test_a_variable_that_is_no_setting_is_warned_about(mirror: Mirror) -> None:
    """A slip in TREECAST_EXCLUDE would copy what should stay."""
    write(mirror.source / "file")
    mirror.environ["TREECAST_EXCLUD"] = "*.tmp"
    assert "TREECAST_EXCLUD is set and is no setting" in mirror.run("--once", mirror.source, mirror.a).stderr
