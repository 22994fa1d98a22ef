"""Fleets of real processes, each in a place of its own, all ended with the test."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.services import Fleet

MakeFleet = Callable[..., Fleet]
_MEMORY = Path("/dev/shm")


@pytest.fixture
def make_fleet(fast_place: Path) -> Iterator[MakeFleet]:
    """Makes fleets as `Fleet` is made; without a place of their own they are in memory."""
    with ExitStack() as fleets:

        def make(broker: str, place: Path = fast_place, **more: Any) -> Fleet:
            return fleets.enter_context(Fleet(place, broker, **more))

        yield make


@pytest.fixture
def fast_place(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where the system has one, so that the writer is as fast as a writer can be; else on the disk."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    place = Path(tempfile.mkdtemp(prefix="treecast-test-", dir=_MEMORY))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def is_large(request: pytest.FixtureRequest) -> bool:
    """Whether `--large` was given."""
    return bool(request.config.getoption("--large"))
