"""`treecast mirror` as a person runs it: a place with a source and replicas, the command as a process, and what came of it.

The picture of a tree is this module's own: it uses nothing of what it judges.
"""

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.waiting import eventually, scaled

Picture = dict[bytes, tuple[str, int, int, bytes]]
"""Path to kind, mode, mtime (of files) and content or link target."""


class Mirror:
    """A place for one mirror, and the command."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.source, self.a, self.b = place / "source", place / "a", place / "b"
        self.state = place / "state"
        self.source.mkdir()
        (place / "run").mkdir()
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("TREECAST_", "XDG_", "STATE_"))
        }
        self.environ = {**kept, "HOME": str(place / "home"), "XDG_RUNTIME_DIR": str(place / "run"), "NO_COLOR": "1"}

    def command(self, *words: str | Path) -> list[str]:
        """The command with these words behind `mirror --state ...`."""
        return [sys.executable, "-m", "treecast", "mirror", f"--state={self.state}", *map(str, words)]

    def run(self, *words: str | Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run it to its end, which must be with this code."""
        done = subprocess.run(
            self.command(*words),
            env=self.environ,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=scaled(60),
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def start(self, *words: str | Path) -> "subprocess.Popen[str]":
        """Start it; the caller ends it."""
        return subprocess.Popen(
            self.command(*words), env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def refusal(self, *words: str | Path, code: int) -> str:
        """The one line that it refuses with."""
        done = self.run(*words, code=code)
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("treecast: ")
        return lines[0]

    def logs(self) -> str:
        """What the children wrote."""
        return "\n".join(f"{path}:\n{path.read_text()}" for path in self.state.glob("**/log"))

    def children(self) -> list[int]:
        """Ids of living producers and consumers of this place."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                is_zombie = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
            except OSError:
                continue
            is_ours = b"-m" in words and words[words.index(b"-m") + 1] in (b"producer", b"consumer")
            if is_ours and not is_zombie and any(os.fsencode(self.place) in word for word in words):
                found.append(int(entry.name))
        return found


def end(process: "subprocess.Popen[str]", number: int = signal.SIGINT) -> tuple[int, str, str]:
    """Send a signal, wait. Exit code, output, errors."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=scaled(30))
    return process.returncode, output, errors


def picture(root: Path, but: bytes = b"") -> Picture:
    """All that a replica must show, `lost+found` at the root aside. `but`: what a running consumer has there, and may change.
    What goes while we look is not there."""
    found: Picture = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        if but and directory == os.fsencode(root):
            directories[:] = [name for name in directories if name != but]
        for name in directories + files:
            path = os.path.join(directory, name)
            with suppress(FileNotFoundError):
                found[os.path.relpath(path, os.fsencode(root))] = _shown(path)
    return found


def _shown(path: bytes) -> tuple[str, int, int, bytes]:
    seen = os.lstat(path)
    mode = stat.S_IMODE(seen.st_mode) & 0o777
    if stat.S_ISLNK(seen.st_mode):
        return "symlink", 0, 0, os.readlink(path)
    if stat.S_ISDIR(seen.st_mode):
        return "directory", mode, 0, b""
    with open(path, "rb") as file:
        return "file", mode, seen.st_mtime_ns, file.read()


def write(path: Path, text: str = "content", *, age_seconds: int = 100) -> Path:
    """A file that is not fresh, so that nothing waits for it to settle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    then = path.stat().st_mtime_ns - age_seconds * 10**9
    os.utime(path, ns=(then, then))
    return path


def last_json(text: str) -> dict[str, Any]:
    """The last JSON line."""
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def wait_for(path: Path, content: str) -> None:
    """Until a file has this content."""
    eventually(lambda: path.exists() and path.read_text() == content, 20, f"{content!r} in {path}")
