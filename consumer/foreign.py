"""Does: takes what somebody else put into a replica away, as the policy for foreign things is. Knows no plan and no index."""

from collections.abc import Collection

from consumer.aside import Aside
from consumer.clearing import Clearing, Protects
from consumer.faults import raise_if_general
from consumer.values import ForeignPolicy
from consumer.walking import Directories


def clear_paths(
    root: int,
    home: int,
    paths: Collection[bytes],
    number: int,
    protects: Protects | None,
    foreign: ForeignPolicy,
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """These go as far as that can be done; returns what is gone, and what of it stands aside, under the commit's `number`.

    `root`, `home`: descriptors of the target and its stage, which stay the caller's. Raises NoRoomError and HaltError.
    """
    gone = []
    directories, aside = Directories(root), Aside(home, number)
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
        aside.close()
        directories.tighten()
        directories.close()
