"""The machine's tests stand on simulated disks, clock, chance and databases, and nothing else does."""

from collections.abc import Iterator

import pytest

from tests.machine.process import installed


@pytest.fixture(autouse=True)
def _simulation() -> Iterator[None]:
    with installed():
        yield
