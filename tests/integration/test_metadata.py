"""Owners, modes, groups and symlinks on real disks: looked at on the master, set on the replica."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.digests import content_digest
from common.entries import Entry, Kind, directory_entry, file_entry, symlink_entry
from common.patterns import Patterns
from consumer.appearance import Appearance
from consumer.owners import resolve_owner
from consumer.target import Target
from consumer.values import MakeDirectory, Put, Reason, Touch
from producer.carrying import Carrying
from producer.look import Looker, open_root
from producer.owners import numeric_owner
from producer.scan import walk
from producer.values import Identity, Known, LeftOut, Looked, Present, Seen
from tests.disk import MTIME_NS, carry_out, taken

WHO = (1234, 5678) if os.geteuid() == 0 else (os.getuid(), os.getgid())
OWNER = f"{WHO[0]}:{WHO[1]}"
BODY = b"content"


def file_of(owner: str, mode: int = 0o640) -> Entry:
    return file_entry(mode, MTIME_NS, len(BODY), content_digest(BODY), owner)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    taken(tmp_path / "replica").close()
    with Target.open(tmp_path / "replica", appearance=Appearance(resolve=resolve_owner)) as target:
        target.take()
        yield target


def owner_at(path: Path) -> tuple[int, int]:
    seen = path.lstat()
    return seen.st_uid, seen.st_gid


def test_every_kind_gets_its_owner_and_a_change_of_owner_alone_writes_no_content(target: Target) -> None:
    link = symlink_entry(1, content_digest(b"f"), OWNER)
    carry_out(
        target,
        directories=(MakeDirectory(b"d", 0o750, OWNER),),
        contents=(Put(b"d/f", file_of(OWNER), BODY), Put(b"d/l", link, b"f"), Put(b"g", file_of(""), BODY)),
    )
    root = target.path
    assert [owner_at(root / name) for name in ("d", "d/f", "d/l")] == [WHO] * 3
    assert owner_at(root / "g") == (os.geteuid(), os.getegid())
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o640
    before = (root / "g").stat().st_ino
    outcome = carry_out(target, 2, contents=(Touch(b"g", file_of(OWNER)), Touch(b"d/l", link)))
    assert not outcome.unmet
    assert owner_at(root / "g") == WHO
    assert (root / "g").stat().st_ino == before
    assert (root / "g").stat().st_mtime_ns == MTIME_NS


def test_an_owner_that_nobody_is_here_is_a_problem_of_its_path_alone(target: Target) -> None:
    outcome = carry_out(
        target,
        directories=(MakeDirectory(b"d", 0o750, "nobody-of-that-name:0"),),
        contents=(Put(b"f", file_of("nobody-of-that-name:0"), BODY), Put(b"g", file_of(OWNER), BODY)),
    )
    assert {path: unmet.reason for path, unmet in outcome.unmet.items()} == {b"d": Reason.PROBLEM, b"f": Reason.PROBLEM}
    assert "no user 'nobody-of-that-name'" in outcome.unmet[b"f"].detail
    assert (target.path / "g").read_bytes() == BODY


def test_modes_that_are_told_replace_the_published_ones_also_in_place(tmp_path: Path) -> None:
    taken(tmp_path / "replica").close()
    appearance = Appearance(dir_mode=0o755, file_mode=0o644, gid=os.getegid())
    with Target.open(tmp_path / "replica", appearance=appearance) as target:
        target.take()
        carry_out(target, directories=(MakeDirectory(b"d", 0o700),), contents=(Put(b"d/f", file_of("", 0o600), BODY),))
        carry_out(target, 2, contents=(Touch(b"d/f", file_of("", 0)),))
    assert stat.S_IMODE((tmp_path / "replica/d").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "replica/d/f").stat().st_mode) == 0o644


def test_what_shows_as_it_should_is_not_written_again(tmp_path: Path) -> None:
    """Where modes are told, a start cannot know which ones were published; a file with other names keeps them, too."""
    taken(tmp_path / "replica").close()
    appearance = Appearance(0o755, 0o644, WHO[1], resolve_owner)
    told, link = file_of(OWNER, 0o600), symlink_entry(1, content_digest(b"f"), OWNER)
    with Target.open(tmp_path / "replica", appearance=appearance) as target:
        target.take()
        directory = MakeDirectory(b"d", 0o700, OWNER)
        carry_out(target, directories=(directory,), contents=(Put(b"d/f", told, BODY), Put(b"l", link, b"f")))
        os.link(tmp_path / "replica/d/f", tmp_path / "other-name")
        paths = [target.path / name for name in ("d", "d/f", "l")]
        before = [(path.lstat().st_ino, path.lstat().st_ctime_ns) for path in paths]
        carry_out(target, 2, directories=(directory,), contents=(Touch(b"d/f", told), Touch(b"l", link)))
    assert [(path.lstat().st_ino, path.lstat().st_ctime_ns) for path in paths] == before


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    root = tmp_path / "source"
    (root / "d").mkdir(parents=True)
    (root / "d/f").write_bytes(BODY)
    (root / "inside").symlink_to("d/f")
    (root / "outside").symlink_to("/etc/passwd")
    for path in (root / "d", root / "d/f", root / "inside"):
        os.chown(path, *WHO, follow_symlinks=False)
    descriptor = open_root(str(root))
    yield descriptor
    os.close(descriptor)


def look(root: int, path: bytes, carrying: Carrying, known: Known | None = None) -> Looked:
    with Looker(root, limit_bytes=1000, carrying=carrying) as looker:
        return looker.look(path, known)


def test_a_look_says_who_owns_what_only_where_owners_are_carried(source: int) -> None:
    numeric = Carrying(owner_of=numeric_owner)
    for path in (b"d", b"d/f", b"inside"):
        found = look(source, path, numeric)
        assert isinstance(found, Present)
        assert found.entry.owner == OWNER
    plain = look(source, b"d/f", Carrying())
    assert isinstance(plain, Present)
    assert plain.entry.owner == ""


def test_a_change_of_owner_alone_carries_no_body(source: int) -> None:
    before = look(source, b"d/f", Carrying())
    assert isinstance(before, Present)
    known = Known(b"d/f", before.entry, before.identity)
    found = look(source, b"d/f", Carrying(owner_of=numeric_owner), known)
    assert isinstance(found, Present)
    assert (found.entry.owner, found.body) == (OWNER, None)


def test_an_unsafe_link_is_left_out_with_a_reason_and_a_skipped_one_is_not_even_walked(source: int) -> None:
    outside = look(source, b"outside", Carrying("safe"))
    assert isinstance(outside, LeftOut)
    assert "leads out of the tree" in outside.why
    assert isinstance(look(source, b"inside", Carrying("safe")), Present)
    assert look(source, b"inside", Carrying("skip")) == LeftOut(b"inside", "")
    walked = {
        seen.path: seen
        for seen in walk(source, b"", Patterns(), Carrying("skip", numeric_owner))
        if isinstance(seen, Seen)
    }
    assert set(walked) == {b"d", b"d/f"}
    assert walked[b"d"].owner == OWNER


def test_a_scan_sees_a_tree_whose_owners_are_carried_from_now_on_as_different(source: int) -> None:
    from producer.differences import differences

    numeric = Carrying(owner_of=numeric_owner)
    known = [
        Known(b"d", directory_entry(os.fstat(source).st_mode), Identity(0, 0)),
        Known(b"link", symlink_entry(1, content_digest(b"x")), Identity(0, 0)),
    ]
    seen = [one for one in walk(source, b"", Patterns(), numeric) if isinstance(one, Seen) and one.path == b"d"]
    assert [found.path for found in differences(seen, known[:1])] == [b"d"]
    assert seen[0].kind is Kind.DIRECTORY
