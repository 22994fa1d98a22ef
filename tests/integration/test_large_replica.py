"""Large contents on a replica: fetched in parts, taken from its own tree, placed like any other; whatever happens on the way."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.messages import INLINE_LIMIT_BYTES, PART_BYTES, AskParts
from tests.running_consumer import Running

PARTS = 9
LARGE = os.urandom(INLINE_LIMIT_BYTES + (PARTS - 5) * PART_BYTES + 5)
OTHER = os.urandom(len(LARGE))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    with Running(tmp_path, monkeypatch) as running:
        yield running


def store(world: Running) -> list[str]:
    return sorted(os.listdir(world.root / ".treecast" / "large"))


def asked_parts(world: Running) -> int:
    return sum(question.ask.count for question in world.questions if isinstance(question.ask, AskParts))


def fetched(world: Running) -> int:
    return world.counted("large_bytes_fetched_total")


def test_a_large_file_is_fetched_in_parts_and_placed(world: Running) -> None:
    world.say(world.master.batch({b"d": 0o755, b"d/large": LARGE, b"small": b"small"}))
    world.turn()
    assert (world.root / "small").read_bytes() == b"small"
    world.level()
    assert asked_parts(world) == PARTS
    assert fetched(world) == len(LARGE)
    assert store(world) == []
    assert (world.root / "d" / "large").stat().st_nlink == 1
