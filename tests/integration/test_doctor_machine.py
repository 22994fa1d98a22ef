"""The doctor on a real disk and in a /proc of the test's making: it finds what is there, and leaves nothing behind."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import UnreachableError
from common.lock import ProcessLock
from common.patterns import Patterns
from common.settings import ConsumeSettings, ProduceSettings
from common.transport.embedded_places import Places
from consumer.target import Target
from producer.journal import Journal
from producer.journal_schema import JOURNAL_NAME
from tests.transports import embedded_url
from treecast.doctor import filesystems, kernel, limits, sampling
from treecast.doctor.case import Case, carry_out
from treecast.doctor.examination import examine
from treecast.doctor.findings import Finding, Severity, quoted, verdict
from treecast.doctor.local_queue import Holder
from treecast.doctor.probe import probe


def names(root: Path) -> list[str]:
    return sorted(os.listdir(root))


def produce(tmp_path: Path, **more: object) -> ProduceSettings:
    (tmp_path / "source/sub/deep").mkdir(parents=True, exist_ok=True)
    (tmp_path / "source/sub/file").write_text("x")
    told = {"tree": "t", "broker": embedded_url(tmp_path / "queue.db"), "state": tmp_path / "state"}
    return ProduceSettings.model_validate({**told, "source": tmp_path / "source", **more})


def consume(tmp_path: Path, **more: object) -> ConsumeSettings:
    (tmp_path / "target").mkdir(exist_ok=True)
    told = {"tree": "t", "replica": "a", "broker": embedded_url(tmp_path / "queue.db"), "state": tmp_path / "state"}
    return ConsumeSettings.model_validate({**told, "target": tmp_path / "target", **more})


def named(name: str, found: list[Finding]) -> Finding:
    (one,) = [finding for finding in found if finding.name == name]
    return one


def bad(found: list[Finding]) -> list[str]:
    return [one.name for one in found if one.severity in {Severity.ERROR, Severity.WARNING}]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with little: three watches for a user."""
    proc = tmp_path / "proc"
    (proc / "sys/fs/inotify").mkdir(parents=True)
    for key, value in (("max_user_watches", 3), ("max_user_instances", 128), ("max_queued_events", 16384)):
        (proc / "sys/fs/inotify" / key).write_text(f"{value}\n")
    return proc


def test_a_machine_that_is_well_is_well(tmp_path: Path) -> None:
    """For a producer and for a consumer that never ran; and nothing was made by looking."""
    for settings in (produce(tmp_path), consume(tmp_path)):
        # What a machine for tests may lack: room for a gigabyte, and a disk that is no memory.
        assert [name for name in bad(list(examine(Case(settings)))) if not name.endswith(("-room", "-disk"))] == []
    assert names(tmp_path) == ["source", "target"]
    assert names(tmp_path / "target") == []


def test_too_few_watches_for_the_tree_are_found(tmp_path: Path, proc: Path) -> None:
    """Four directories, three watches: the count is of the disk, or of the journal where there is one."""
    settings = produce(tmp_path)
    (tmp_path / "source/other").mkdir()
    found = named("watches", list(examine(Case(settings, proc=proc))))
    assert found.severity is Severity.WARNING
    assert found.found == "fs.inotify.max_user_watches is 3, for 4 directories (counted)"
    assert found.todo.startswith("sysctl -w fs.inotify.max_user_watches=524288 && ")
    (tmp_path / "state").mkdir()
    Journal(tmp_path / "state" / JOURNAL_NAME, "t").close()
    found = named("watches", list(examine(Case(settings, proc=proc))))
    assert found.found.endswith("for 1 directory (the journal)")


def test_a_source_that_is_missing_is_an_error(tmp_path: Path) -> None:
    settings = produce(tmp_path, source=tmp_path / "not-mounted")
    assert named("source", list(examine(Case(settings)))).severity is Severity.ERROR


def test_a_check_that_fails_is_not_well_and_the_next_goes_on(tmp_path: Path) -> None:
    """A silent broker ends with 3, whatever else is well."""

    def silent(_: Case) -> Iterator[Finding]:
        raise UnreachableError("no answer")

    def broken(_: Case) -> Iterator[Finding]:
        raise OSError(5, "Input/output error")

    found = list(carry_out({"one": silent, "two": broken}, Case(produce(tmp_path))))
    assert [(one.name, one.severity) for one in found] == [("one", Severity.ERROR), ("two", Severity.WARNING)]
    assert verdict(found) == 3


def test_what_is_excluded_is_not_counted(tmp_path: Path) -> None:
    root = produce(tmp_path).source
    sample, size = sampling.try_reading(root, Patterns(["/sub/deep/"]))
    assert (sample.looked, size.directories, size.is_whole) == (2, 2, True)


AS_ANYBODY = """if True:
    import os
    from pathlib import Path
    from common.patterns import Patterns
    from treecast.doctor import sampling
    if os.geteuid() == 0:  # who may read everything
        os.setegid(65534)
        os.seteuid(65534)
    sample, _ = sampling.try_reading(Path("."), Patterns([]))
    print(sample.refused, sample.first)
"""


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    """By a user with the system's own permission checks, in a process of its own."""
    root = produce(tmp_path).source
    (root / "sub/file").chmod(0)
    told = subprocess.run(
        [sys.executable, "-c", AS_ANYBODY],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert told.stdout == b"1 sub/file\n"


def test_a_walk_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "PATHS_LIMIT", 2)
    _, size = sampling.try_reading(produce(tmp_path).source, Patterns([]))
    assert not size.is_whole


# -- the target


def test_the_probe_leaves_nothing(tmp_path: Path) -> None:
    """Neither a stage that was not there, nor anything in one that was."""
    probed = probe(tmp_path)
    assert (probed.staged, probed.refusal) == (probed.in_place, "")
    assert probed.staged is not None
    assert names(tmp_path) == []
    (tmp_path / ".treecast/stage").mkdir(parents=True)
    probe(tmp_path)
    assert names(tmp_path) == [".treecast"]
    assert names(tmp_path / ".treecast") == ["stage"]


def test_the_probe_sees_a_group_that_is_inherited(tmp_path: Path) -> None:
    """A staged file misses the group of a setgid directory."""
    group = next((gid for gid in os.getgroups() if gid != os.getegid()), 4242 if os.geteuid() == 0 else None)
    if group is None:
        pytest.skip("this user has one group only")
    (tmp_path / ".treecast").mkdir()
    os.chown(tmp_path, -1, group)
    tmp_path.chmod(0o2755)
    probed = probe(tmp_path)
    assert probed.staged is not None
    assert probed.in_place is not None
    assert (probed.staged.gid, probed.in_place.gid) == (os.getegid(), group)


def test_the_probe_sees_a_default_acl(tmp_path: Path) -> None:
    """A staged file misses that of the directory; with the same one on the stage it does not."""
    (tmp_path / ".treecast").mkdir()
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, permissions, who)
        for tag, permissions, who in (
            (0x01, 7, 0xFFFFFFFF), (0x02, 5, 4242), (0x04, 5, 0xFFFFFFFF), (0x10, 5, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF),
        )
    )  # fmt: skip
    try:
        os.setxattr(tmp_path, "system.posix_acl_default", acl)
    except OSError as error:
        pytest.skip(f"this file system has no ACLs: {error}")
    probed = probe(tmp_path)
    assert probed.staged is not None
    assert probed.in_place is not None
    assert (bool(probed.staged.acl), bool(probed.in_place.acl)) == (False, True)
    os.setxattr(tmp_path / ".treecast", "system.posix_acl_default", acl)
    again = probe(tmp_path)
    assert again.staged == again.in_place


def test_a_target_that_cannot_be_staged_in_says_why(tmp_path: Path) -> None:
    (tmp_path / ".treecast").write_text("a file")
    assert "not a directory" in probe(tmp_path).refusal


def test_a_target_that_is_held_is_looked_at_without_disturbing_it(tmp_path: Path) -> None:
    """While a consumer has it, and its mark is read."""
    settings = consume(tmp_path)
    with Target.open(settings.target) as target:
        target.take()
        found = list(examine(Case(settings)))
        assert named("stage", found).severity is Severity.OK
        target.take()
    assert names(settings.target) == [".treecast"]


def test_files_that_are_not_ours_need_a_person(tmp_path: Path) -> None:
    settings = consume(tmp_path)
    (settings.target / "file").write_text("x")
    found = named("mark", list(examine(Case(settings))))
    assert (found.severity, found.todo) == (Severity.ERROR, "treecast consume --adopt")
    adopting = consume(tmp_path, adopt=True)
    assert named("mark", list(examine(Case(adopting)))).severity is Severity.OK


def test_a_target_that_may_be_none_is_an_error(tmp_path: Path) -> None:
    settings = consume(tmp_path, target="/")
    assert named("target", list(examine(Case(settings)))).severity is Severity.ERROR


# -- state, queue and process


def test_who_holds_a_lock_is_told_without_taking_it(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock", "host:7")
    assert filesystems.holder_of(lock.path) == (no_one := Holder(False))
    with lock:
        assert filesystems.holder_of(lock.path) == Holder(True, "host:7")
    assert filesystems.holder_of(lock.path) == no_one


def test_a_queue_that_another_process_consumes_is_found(tmp_path: Path) -> None:
    settings = consume(tmp_path)
    places = Places(tmp_path / "queue.db", "t")
    places.directory.mkdir()
    with ProcessLock(places.lock(places.replica_queue("a")), "elsewhere:7"):
        found = named("queue-holder", list(examine(Case(settings))))
    assert found.severity is Severity.WARNING
    assert "held by elsewhere:7" in found.found


def test_a_file_that_is_no_queue_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"no database at all, but text" * 100)
    assert named("broker", list(examine(Case(consume(tmp_path))))).severity is Severity.ERROR


def test_limits_are_read_from_where_they_stand(proc: Path) -> None:
    assert kernel.sysctl(limits.WATCHES, proc) == 3
    assert kernel.sysctl(limits.WATCHES_HERE, proc) is None
    assert kernel.open_files_limit(os.getpid())[1] == f"process {os.getpid()}"
    assert kernel.open_files_limit(None)[0] > 0
    assert kernel.is_clock_synchronised() in {True, False, None}
    assert kernel.try_inotify() == ""


@pytest.mark.parametrize("word", ["plain", "with space", "it's", "$(reboot)", "a\nb", "tab\there", "\udcff", "'\n\\"])
def test_a_quoted_word_is_one_line_that_a_shell_reads_as_the_word(word: str) -> None:
    text = quoted(word)
    assert "\n" not in text
    told = subprocess.run(["bash", "-c", f"printf %s {text}"], capture_output=True, check=True).stdout
    assert told == word.encode("utf-8", "surrogateescape")
