"""Entries, events and positions as values."""

from common.entries import BEFORE_ALL, Kind, Position, directory_entry, file_entry, symlink_entry

DIGEST, OTHER = bytes([1]) * 32, bytes([2]) * 32


def test_a_mode_keeps_permissions_only() -> None:
    assert file_entry(0o104755, 0, 0, DIGEST).mode == 0o755
    assert directory_entry(0o42775).mode == 0o775


def test_a_directory_has_no_size_no_time_and_no_content() -> None:
    assert directory_entry(0o700) == (Kind.DIRECTORY, 0o700, 0, 0, b"", "")
    assert directory_entry(0o700).is_directory
    assert not file_entry(0o700, 0, 0, DIGEST).is_directory


def test_a_symlink_has_its_target_for_content_and_no_mode_or_time_of_its_own() -> None:
    assert symlink_entry(5, DIGEST) == (Kind.SYMLINK, 0o777, 0, 5, DIGEST, "")


def test_the_same_content_is_the_same_bytes_in_the_same_kind() -> None:
    entry = file_entry(0o644, 1, 3, DIGEST)
    assert entry.same_content(file_entry(0o600, 2, 3, DIGEST))
    assert not entry.same_content(file_entry(0o644, 1, 3, OTHER))
    assert not entry.same_content(symlink_entry(3, DIGEST))
    assert not entry.same_content(None)


def test_positions_compare_as_pairs() -> None:
    assert Position(1, 99) < Position(2, 0) < Position(2, 1)
    assert Position(1, 0) > BEFORE_ALL


def test_zero_is_left_to_say_absent() -> None:
    assert 0 not in set(Kind)
