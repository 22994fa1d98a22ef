"""What the master excludes is protected on every replica, whichever way a replica comes to know of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.entries import Event
from common.errors import HaltError
from common.messages import AskBodies
from common.names import PATTERNS_PATH
from common.patterns import row_of
from common.wire.codec import encode
from consumer.clearing import Protects
from tests.disk import read_tree
from tests.memory_place import memory_place
from tests.running_consumer import Content, Running

TREE: dict[bytes, Content] = {b"a": b"1", b"cache": 0o755, b"cache/x": b"x", b"d": 0o755, b"d/y.tmp": b"y"}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with memory_place(tmp_path) as place, Running(place, monkeypatch) as running:
        yield running


def agreed(running: Running) -> None:
    running.say(running.master.heartbeat())
    running.until(lambda: running.is_level, what="agreed")


def protects(running: Running) -> Protects:
    found = running.target.protects
    assert found is not None
    return found


def test_what_is_excluded_later_leaves_the_index_and_stays_on_the_disk(running: Running) -> None:
    running.say(running.master.batch(TREE))
    running.level()
    before = read_tree(running.root)
    running.say(running.master.exclude("/cache/", "*.tmp"))
    agreed(running)
    assert read_tree(running.root) == before
    assert set(running.state.below(b"")) == {b"a", b"d", PATTERNS_PATH}
    assert running.state.counts.entries == 2
    assert protects(running)(b"cache", True)
    assert not (running.root / ".treecast" / "patterns").exists()


def test_a_replica_that_was_away_while_patterns_came_keeps_what_they_exclude(running: Running) -> None:
    """However the gap is healed: by since, or by buckets because the log is too short."""
    for epoch, forget in enumerate([lambda: None, running.master.forget_log], running.master.lineage.epoch + 1):
        running.master.start_epoch(epoch)
        running.say(running.master.exclude(), running.master.batch(TREE))
        agreed(running)
        running.master.exclude("/cache/", "*.tmp")
        running.master.batch({b"a": None, b"b": b"2"})
        forget()
        running.say(running.master.batch({b"c": b"3"}))
        agreed(running)
        assert {path for path in read_tree(running.root) if b"." not in path[:1]} == {
            *(b"b", b"c", b"cache", b"cache/x", b"d", b"d/y.tmp")
        }
        running.say(running.master.batch({b"b": None, b"c": None}))


def test_an_adoption_keeps_what_the_tree_excludes_and_sets_the_rest_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memory_place(tmp_path) as place:
        running = Running(place, monkeypatch)
        (running.root / "cache").mkdir()
        (running.root / "cache/own").write_bytes(b"own")
        (running.root / "other").write_bytes(b"other")
        running.master.exclude("/cache/")
        running.say(running.master.batch({b"a": b"1"}))
        running.start(adopt=True)
        agreed(running)
        assert set(read_tree(running.root)) == {b"a", b"cache", b"cache/own"}
        assert [path.read_bytes() for path in (running.root / ".treecast/aside").rglob("other")] == [b"other"]
        running.end()


def test_nothing_that_an_answer_lacks_goes_while_the_patterns_text_is_not_here(running: Running) -> None:
    running.say(running.master.batch(TREE))
    running.level()
    running.master.exclude("/cache/", "*.tmp")
    running.master.forget_log()
    content = running.master.events[PATTERNS_PATH]
    running.master.events[PATTERNS_PATH] = content._replace(body=None)
    answers = running.master.answers
    running.answer = lambda question: map(encode, [] if isinstance(question.ask, AskBodies) else answers(question))
    running.say(running.master.batch({b"b": b"2"}))
    running.turn(300)
    assert not running.is_level
    assert set(read_tree(running.root)) == {*TREE, b"b"}
    running.master.events[PATTERNS_PATH], running.answer = content, None
    agreed(running)
    assert set(read_tree(running.root)) == {*TREE, b"b"}


def test_what_was_excluded_on_both_sides_and_is_included_again_becomes_the_masters(running: Running) -> None:
    running.say(running.master.exclude("*.tmp"), running.master.batch({b"a": b"1"}))
    agreed(running)
    (running.root / "own.tmp").write_bytes(b"own")
    running.say(running.master.exclude(), running.master.batch({b"own.tmp": b"the master's"}))
    running.level()


def test_patterns_survive_a_restart_and_what_one_replica_protects_is_added(running: Running) -> None:
    running.say(running.master.exclude("*.tmp"), running.master.batch({b"a": b"1"}))
    agreed(running)
    running.restart(protect=("*.own",))
    told = protects(running)
    assert [told(path, False) for path in (b"x.tmp", b"x.own", b"a")] == [True, True, False]
    running.say(running.master.exclude())
    agreed(running)
    assert [protects(running)(path, False) for path in (b"x.tmp", b"x.own")] == [False, True]


@pytest.mark.parametrize("foreign", ["aside", "delete", "keep"])
def test_what_is_foreign_in_a_directory_that_goes_follows_the_policy(running: Running, foreign: str) -> None:
    running.restart(foreign=foreign)
    running.say(running.master.batch({b"d": 0o755, b"d/x": b"x"}))
    running.level()
    (running.root / "d/sub").mkdir()
    (running.root / "d/sub/own").write_bytes(b"own")
    running.say(running.master.batch({b"d/x": None, b"d": None}))
    agreed(running)
    running.turn(10)  # a whole directory goes a moment later
    aside = [path.name for path in (running.root / ".treecast").rglob("own")]
    assert ((running.root / "d/sub/own").exists(), aside) == {
        "aside": (False, ["own"]),
        "delete": (False, []),
        "keep": (True, []),
    }[foreign]
    running.say(running.master.batch({b"d": b"a file now"}))
    running.level()
    assert [path.name for path in (running.root / ".treecast").rglob("own")] == ([] if foreign == "delete" else ["own"])


@pytest.mark.parametrize("line", ["!", "\\", "[z-a]", "a\0b"])
def test_patterns_that_cannot_be_used_here_stop_it_and_nothing_changes(running: Running, line: str) -> None:
    """Another release may know them: what they protect is not known here, so nothing may go."""
    running.say(running.master.batch(TREE))
    running.level()
    before = read_tree(running.root)
    row = row_of((line,))
    assert row is not None
    running.say(running.master.publish((Event(PATTERNS_PATH, *row),)))
    with pytest.raises(HaltError, match="exclude patterns cannot be read here"):
        running.turn(5)
    assert read_tree(running.root) == before
