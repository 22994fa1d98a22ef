"""Does: takes what somebody else put into a replica away, as the policy for foreign things is. Knows no plan and no index."""

from collections.abc import Collection

from consumer.aside import Aside
from consumer.clearing import Clearing, Protects
from consumer.faults import raise_if_general
from consumer.values import ForeignPolicy
from consumer.walking import Directories


def clear_paths(
    root: int, aside: Aside, paths: Collection[bytes], protects: Protects | None, foreign: ForeignPolicy
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """These go as far as that can be done; returns what is gone, and what of it stands aside.

    `root`: a descriptor of the target, which stays the caller's, as `aside` does. Raises NoRoomError and HaltError.
    """
    gone = []
    directories = Directories(root)
    clearing = Clearing(directories, aside, protects, foreign)
    try:
        for path in paths:
            try:
                if clearing.clear_foreign(path):
                    gone.append(path)
            except OSError as error:
                raise_if_general(error, "clearing foreign files")
        return tuple(gone), tuple(aside.paths)
    finally:
        directories.tighten()
        directories.close()
