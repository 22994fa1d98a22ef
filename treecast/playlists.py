"""Does: a small world of sample playlists for the demonstration: made, changed, deleted, each change remembered.

Knows no replica. Every file is written beside the tree and renamed into it, as careful programs do.
"""

import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

DIRECTORIES = 100
FILES_PER_DIRECTORY = 100
SHORTEST_BYTES, LONGEST_BYTES = 100, 300

Expected = dict[str, bytes | None]
"""What must be read at a path, relative to the root, on every replica; None: nothing may be there."""


class Playlists:
    """The master's tree of the demonstration. `desk`: a directory beside it, on the same file system."""

    def __init__(self, root: Path, desk: Path, seed: int = 1) -> None:
        self.root = root
        self._desk = desk
        self._random = random.Random(seed)
        self._next_new = 0
        self.paths: list[str] = []
        """The files that are there now."""

    def fill(self) -> None:
        """Make 10,000 of them in 100 directories."""
        self.root.mkdir()
        self._desk.mkdir()
        for directory in range(DIRECTORIES):
            (self.root / f"listeners-{directory:02}").mkdir()
            for number in range(FILES_PER_DIRECTORY):
                path = f"listeners-{directory:02}/{number:04}.m3u"
                (self.root / path).write_bytes(self._text())
                self.paths.append(path)

    def modify(self, count: int) -> Expected:
        """Give other contents to some."""
        return {path: self._write(path) for path in self._random.sample(self.paths, count)}

    def create(self, count: int) -> Expected:
        """Add some, spread over the directories that are there."""
        directories = sorted({path.partition("/")[0] for path in self.paths})
        paths = [f"{directories[n % len(directories)]}/new-{self._next_new + n:05}.m3u" for n in range(count)]
        self._next_new += count
        expected: Expected = {path: self._write(path) for path in paths}
        self.paths += paths
        return expected

    def delete(self, count: int, spare: Iterable[str] = ()) -> Expected:
        """Delete some, not those to be spared."""
        spared = set(spare)
        gone = self._random.sample([path for path in self.paths if path not in spared], count)
        for path in gone:
            (self.root / path).unlink()
        return self._forget(gone)

    def delete_directory(self) -> Expected:
        """Delete a directory with all that is in it."""
        directory = self.paths[0].partition("/")[0]
        gone = [path for path in self.paths if path.startswith(f"{directory}/")]
        shutil.rmtree(self.root / directory)
        return {**self._forget(gone), directory: None}

    def _forget(self, gone: list[str]) -> Expected:
        absent = set(gone)
        self.paths = [path for path in self.paths if path not in absent]
        return dict.fromkeys(gone)

    def _write(self, path: str) -> bytes:
        text, draft = self._text(), self._desk / "draft"
        draft.write_bytes(text)
        os.replace(draft, self.root / path)
        return text

    def _text(self) -> bytes:
        wanted = self._random.randint(SHORTEST_BYTES, LONGEST_BYTES)
        lines = ["#EXTM3U"]
        while sum(map(len, lines)) + len(lines) < wanted:
            track = self._random.randrange(1_000_000)
            lines.append(f"music/{track // 1000:03}/{track:06}.flac")
        return ("\n".join(lines) + "\n").encode()[:LONGEST_BYTES]


def is_seen(replica: Path, path: str, content: bytes | None) -> bool:
    """Whether a replica shows what is expected at one path."""
    try:
        if content is None:
            return not os.path.lexists(replica / path)
        return (replica / path).read_bytes() == content
    except (FileNotFoundError, NotADirectoryError):
        return False


def count_files(root: Path) -> int:
    """How many playlists a tree holds."""
    return sum(1 for _ in root.glob("*/*.m3u"))
