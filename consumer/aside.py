"""Sets foreign things aside: `aside/<label>/<original path>` in the stage (see `ages`), never over what is there.

Knows where things go, not why. What is set aside keeps its mode, times and everything below it: it is only renamed. So a
directory that shall go for good is out of the way at once, however much is in it: it is condemned, under a label of its own.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from common.names import ancestors, basename, parent
from consumer.ages import label_of
from consumer.descriptors import HOLD_DIRECTORY, change_mode
from consumer.walking import Directories

ASIDE = b"aside"


class Aside:
    """One place under `aside/`, made when the first thing goes there."""

    def __init__(self, home: int, number: int) -> None:
        """`home`: a descriptor of the stage. `number`: of the commit that sets things aside."""
        self._home = home
        self._unix_seconds = max(1.0, time.time())  # 0 is what is condemned
        self._number = number
        self._tries = 0
        self._places: list[Directories] = []
        self._condemned: list[Directories] = []
        self._roots: list[int] = []
        self.paths: list[bytes] = []
        """What was set aside, by its path in the target."""

    @property
    def has_condemned(self) -> bool:
        """Whether something was set aside that shall go for good."""
        return bool(self._condemned)

    def take(self, path: bytes, directory: int, mode: int | None = None, *, for_good: bool = False) -> None:
        """Move what stands at `path`, whose parent is held by `directory`. `mode`: of a directory that had to be loosened to be
        moved. `for_good`: it is condemned. Raises OSError as rename does."""
        for place in self._all_places(for_good=for_good):
            if self._is_free(place, path):
                os.rename(basename(path), basename(path), src_dir_fd=directory, dst_dir_fd=place.open(parent(path)))
                if mode is not None:
                    change_mode(place.open(path), mode)
                if not for_good:
                    self.paths.append(path)
                return

    def keep_directory(self, path: bytes, mode: int) -> None:
        """Remember an empty directory that was removed: it stands aside with its mode, and with what went before it."""
        for place in self._all_places():
            with suppress(FileExistsError, NotADirectoryError):
                _make(place, path)
                change_mode(place.open(path), mode | 0o700)
                self.paths.append(path)
                return

    def close(self) -> None:
        """Let go of all descriptors. Idempotent."""
        for place in (*self._places, *self._condemned):
            place.close()
        while self._roots:
            os.close(self._roots.pop())

    def _all_places(self, *, for_good: bool = False) -> Iterator[Directories]:
        """The place of this commit; when something stands in the way there, another one beside it."""
        places = self._condemned if for_good else self._places
        yield from places
        while True:
            place = self._new_place(0 if for_good else self._unix_seconds)
            places.append(place)
            yield place

    def _new_place(self, unix_seconds: float) -> Directories:
        with suppress(FileExistsError):
            os.mkdir(ASIDE, 0o700, dir_fd=self._home)
        shelf = os.open(ASIDE, HOLD_DIRECTORY, dir_fd=self._home)
        try:
            label = self._make_label(shelf, unix_seconds)
            self._roots.append(os.open(label, HOLD_DIRECTORY, dir_fd=shelf))
        finally:
            os.close(shelf)
        return Directories(self._roots[-1])

    def _make_label(self, shelf: int, unix_seconds: float) -> bytes:
        """One that nobody else has: what stands there may be older than its label says, and go soon."""
        while True:
            label = label_of(unix_seconds, self._number, self._tries)
            self._tries += 1
            with suppress(FileExistsError):
                os.mkdir(label, 0o700, dir_fd=shelf)
                return label

    @staticmethod
    def _is_free(place: Directories, path: bytes) -> bool:
        try:
            for above in ancestors(path):
                _make(place, above)
            os.lstat(basename(path), dir_fd=place.open(parent(path)))
        except FileNotFoundError:
            return True
        except (FileExistsError, NotADirectoryError):
            return False
        return False


def _make(place: Directories, path: bytes) -> None:
    try:
        place.open(path)
    except FileNotFoundError:
        if parent(path):
            _make(place, parent(path))
        os.mkdir(basename(path), 0o700, dir_fd=place.open(parent(path)))
