"""A directory in memory, for tests that sync a thousand times. Where the machine has none, an ordinary one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")


@contextmanager
def memory_place(otherwise: Path) -> Iterator[Path]:
    """An empty directory that is gone afterwards."""
    if not os.access(MEMORY, os.W_OK):
        yield otherwise
        return
    made = Path(tempfile.mkdtemp(dir=MEMORY, prefix="treecast-test-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)
