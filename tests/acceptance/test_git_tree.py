"""A git work tree to three replicas over RabbitMQ, while it is checked out to and fro and processes are killed."""

import os
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.git_trees import GitTree
from tests.rabbit import needs_rabbit
from tests.services import Fleet

pytestmark = [
    *needs_rabbit,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    pytest.mark.timeout(600),
]

DELETED_WHILE_DOWN = 500


def test_replicas_follow_a_work_tree_through_check_outs_and_kills(
    make_fleet: MakeFleet, rabbit_url: str, fast_place: Path, is_large: bool
) -> None:
    """Everything is the master's at the end, git's own files too, and each path that was deleted is gone."""
    fleet = make_fleet(rabbit_url)
    files, revisions = (10_000, 12) if is_large else (700, 4)
    tree = GitTree(fleet.source, fast_place, seed=7, files=files, revisions=revisions)
    fleet.start()
    fleet.settle()
    killed = fleet.consumers["b"]
    for revision in (0, revisions - 1, 1):
        tree.check_out(revision)
    killed.kill()
    for revision in (revisions - 1, 0):
        tree.check_out(revision)
    fleet.producer.kill()
    doomed = delete_files(tree)
    killed.start()
    fleet.producer.start()
    fleet.settle()
    fleet.check_equal()
    assert len(doomed) == DELETED_WHILE_DOWN
    check_gone(fleet, doomed)
    tree.check_out(revisions - 1)
    fleet.settle()
    fleet.check_equal()


def delete_files(tree: GitTree) -> list[Path]:
    """Some of what is checked out, by its path below the root."""
    doomed = tree.files()[:DELETED_WHILE_DOWN]
    for path in doomed:
        path.unlink()
    return [path.relative_to(tree.root) for path in doomed]


def check_gone(fleet: Fleet, doomed: list[Path]) -> None:
    left = [target / path for target in fleet.targets for path in doomed if os.path.lexists(target / path)]
    assert not left, left[:10]
