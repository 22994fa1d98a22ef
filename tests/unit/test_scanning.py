from collections.abc import Iterator

from common.entries import Kind, file_entry
from producer.scanning import Scans
from producer.values import Identity, Known, Problem, Seen, Unreadable

WHO = Identity(1, 1)


def _seen(path: bytes) -> Seen:
    return Seen(path, Kind.FILE, 0o644, 0, 0, WHO)


def _known(path: bytes) -> Known:
    return Known(path, file_entry(0o644, 0, 0, bytes(32)), WHO)


class _World:
    def __init__(self, disk: "list[Seen | Unreadable | Problem]", index: list[Known]) -> None:
        self.disk = disk
        self.index = index

    def walk(self, start: bytes) -> "Iterator[Seen | Unreadable | Problem]":
        return (one for one in self.disk if one.path.startswith(start))

    def known(self, start: bytes) -> Iterator[Known]:
        return (one for one in self.index if one.path.startswith(start))

    def scans(self) -> Scans:
        return Scans(self.walk, self.known)


def test_a_scan_hints_at_what_differs_and_at_nothing_else() -> None:
    scans = _World([_seen(b"a"), _seen(b"b"), _seen(b"c")], [_known(b"b"), _known(b"d")]).scans()
    scans.start(b"", only_scanned=True)
    hints, finished = scans.advance(10.0)
    assert [hint.path for hint in hints] == [b"a", b"c", b"d"]
    assert all(hint.only_scanned for hint in hints)
    assert finished is not None
    assert not scans.is_running


def test_a_scan_of_a_million_equal_paths_comes_up_for_air() -> None:
    names = [b"%07d" % number for number in range(5000)]
    scans = _World([_seen(name) for name in names], [_known(name) for name in names]).scans()
    scans.start(b"", only_scanned=True)
    rounds = 0
    while scans.is_running:
        hints, _ = scans.advance(0.0)
        assert hints == []
        rounds += 1
    assert rounds > 10


def test_nothing_is_gone_below_what_cannot_be_read_however_long_the_scan_paused() -> None:
    disk: list[Seen | Unreadable | Problem] = [_seen(b"a%03d" % number) for number in range(600)]
    disk += [_seen(b"d"), Unreadable(b"d", "permission denied")]
    index = [_known(one.path) for one in disk[:-1]] + [_known(b"d/%03d" % number) for number in range(600)]
    scans = _World(disk, index).scans()
    scans.start(b"", only_scanned=False)
    found, unreadable = [], frozenset[bytes]()
    while scans.is_running:
        hints, finished = scans.advance(0.0)
        found += hints
        unreadable = finished.unreadable if finished is not None else unreadable
    assert [(hint.path, hint.why) for hint in found] == [(b"d", "permission denied")]
    assert unreadable == {b"d"}


def test_a_subtree_goes_before_the_whole_tree_which_is_continued() -> None:
    scans = _World([_seen(b"a"), _seen(b"d/x")], []).scans()
    scans.start(b"", only_scanned=True)
    scans.advance(0.0)
    scans.start(b"d", only_scanned=False)
    hints, finished = scans.advance(10.0)
    assert finished is not None
    assert finished.start == b"d"
    assert [hint.path for hint in hints] == [b"d/x"]
    hints, finished = scans.advance(10.0)
    assert finished is not None
    assert finished.start == b""
    assert [hint.path for hint in hints] == [b"d/x"]


def test_only_a_scan_that_somebody_has_a_reason_for_is_waited_for() -> None:
    scans = _World([], []).scans()
    scans.start(b"", only_scanned=True, is_asked=False)
    scans.start(b"a", only_scanned=True)
    assert len(scans.asked) == 1


def test_a_scan_of_everything_that_is_begun_anew_keeps_its_number_and_its_reason() -> None:
    scans = _World([], []).scans()
    scans.start(b"", only_scanned=True)
    before = scans.asked
    scans.start(b"", only_scanned=True, is_asked=False)
    assert scans.asked == before


def test_one_that_comes_in_the_place_of_another_is_waited_for_in_its_place() -> None:
    scans = _World([], []).scans()
    scans.start(b"", only_scanned=True)
    before = scans.asked
    _, finished = scans.advance()
    assert finished is not None
    assert scans.asked == frozenset()
    scans.start_again(finished, only_scanned=True)
    assert scans.asked == before
