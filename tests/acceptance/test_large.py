"""Large files over the embedded queue: fetched through kills, changed on the way, moved and chmodded for a few bytes."""

import os
import shutil
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

MIB = 1 << 20
FILES = 4
SIZES = {False: 8 * MIB, True: 512 * MIB}
"""Of each file; by `--large`. All of them together are what a directory of 2 GB is, or a small picture of it."""
MOVED_LIMIT_BYTES = MIB
PIECE_BYTES = 4 * MIB


@pytest.fixture
def fleet(make_fleet: MakeFleet, fast_place: Path, tmp_path: Path, is_large: bool) -> Fleet:
    place = tmp_path if is_large else fast_place
    return make_fleet(f"sqlite:///{place}/queue.db", place=place, replicas=("a", "b"))


def write(path: Path, size: int) -> None:
    """A file of random bytes, in one go for whoever watches."""
    path.parent.mkdir(exist_ok=True)
    hidden = path.parent.parent.parent / "being-written"
    with hidden.open("wb") as file:
        for _ in range(size // PIECE_BYTES):
            file.write(os.urandom(PIECE_BYTES))
        file.write(b"the end")
    shutil.move(hidden, path)


def sent_bytes(fleet: Fleet) -> float:
    """Batches and answers, as they were published."""
    figures = fleet.producer.metrics()
    return sum(value for name, value in figures.items() if "bytes_published_total" in name or "answer_bytes" in name)


def fetched_bytes(fleet: Fleet, replica: str) -> float:
    return fleet.consumers[replica].metrics().get("treecast_large_bytes_fetched_total", 0.0)


def test_large_files_arrive_through_kills_and_changes_and_move_for_a_few_bytes(fleet: Fleet, is_large: bool) -> None:
    """Equal in the end; what came before a kill is not sent again, and what is known under another name is not sent at all."""
    size = SIZES[is_large]
    fleet.start()
    fleet.settle()
    for number in range(FILES):
        write(fleet.source / "d" / f"large{number}", size)
    eventually(lambda: fetched_bytes(fleet, "a") > size / 2, 60)
    fleet.consumers["a"].kill()
    write(fleet.source / "d" / "large0", size)
    fleet.consumers["a"].start()
    (fleet.source / "d" / "hard").hardlink_to(fleet.source / "d" / "large1")
    fleet.settle(60 if not is_large else 600)
    fleet.check_equal()
    assert fetched_bytes(fleet, "b") < (FILES + 2) * size, "a hard link is no content of its own"

    before = sent_bytes(fleet)
    (fleet.source / "d").rename(fleet.source / "e")
    (fleet.source / "e").chmod(0o700)
    for path in (fleet.source / "e").iterdir():
        path.chmod(0o640)
    fleet.settle(60 if not is_large else 600)
    fleet.check_equal()
    assert sent_bytes(fleet) - before < MOVED_LIMIT_BYTES
