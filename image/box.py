"""Does: one container of the image, run without an engine: its root read-only, in a mount namespace of its own.

Knows buildah, unshare and /proc; of Treecast nothing but its numeric user. Where buildah keeps what it has stands in BUILDAH_ROOT
and BUILDAH_RUNROOT, as image/make sets them.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.rabbit import dies_with_parent
from tests.waiting import eventually

USER = 10001
START_SECONDS, END_SECONDS = 30.0, 20.0

# An engine makes its mount points and then the root read-only; buildah has no such option, and makes and removes files in /run.
_READ_ONLY = """
set -eu
root=$1; shift
mkdir -p "$root/run" "$root/proc" "$root/sys" "$root/dev"
touch "$root/etc/hosts" "$root/etc/resolv.conf"
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
exec "$@"
"""
# Not by buildah, which makes no process namespace: the command is process 1 of one, as it is under an engine.
_AS_FIRST = """
set -eu
root=$1; shift
mount --bind /dev "$root/dev"
while [ "$1" != -- ]; do
    from=${1%%:*} to=${1#*:}; to=$root${to%%:*}; shift
    if [ -f "$from" ]; then mkdir -p "${to%/*}"; touch "$to"; fi
    mount --bind "$from" "$to"
done
shift
exec unshare --pid --fork --kill-child=KILL --root="$root" --wd=/ --mount-proc -- \
    setpriv --reuid=10001 --regid=10001 --clear-groups --bounding-set=-all --no-new-privs -- env -i "$@"
"""


def buildah(*arguments: str) -> str:
    """What buildah prints. Raises CalledProcessError."""
    return subprocess.run(_buildah(*arguments), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _buildah(*arguments: str) -> list[str]:
    return ["buildah", "--root", os.environ["BUILDAH_ROOT"], "--runroot", os.environ["BUILDAH_RUNROOT"], *arguments]


def image_config(image: str) -> dict[str, Any]:
    """What an image says of itself: its user, environment, entry point, command, labels."""
    config: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    return config


class Box:
    """A container of the image, with these volumes ("FROM:TO" or "FROM:TO:ro") and variables. Ends with the `with` block."""

    def __init__(self, image: str, volumes: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        self._config = image_config(image)
        self._volumes = volumes
        self._environ = [f"{name}={value}" for name, value in environ.items()]
        self._process: subprocess.Popen[bytes] | None = None
        self._name = buildah("from", "--pull-never", image)
        self.root = Path(buildah("mount", self._name))
        """Where its root file system can be looked at."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            for process in [*_below(self._process.pid), self._process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            self._process.wait()
        buildah("umount", self._name)
        buildah("rm", self._name)

    def start(self, *command: str, as_first: bool = False) -> None:
        """Start the image's entry point with this command, as its user; `as_first`: as process 1 of a process namespace."""
        words = [*self._config["Entrypoint"], *command]
        script = ["unshare", "--mount", "--propagation=private", "sh", "-c", _READ_ONLY, "sh", str(self.root)]
        script += self._first(words) if as_first else self._run(words)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_parent(), *script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _run(self, words: Sequence[str]) -> list[str]:
        options = [f"--volume={volume}" for volume in self._volumes] + [f"--env={one}" for one in self._environ]
        return _buildah("run", "--isolation", "chroot", *options, self._name, "--", *words)

    def _first(self, words: Sequence[str]) -> list[str]:
        environ = [*self._config["Env"], *self._environ]
        return ["sh", "-c", _AS_FIRST, "sh", str(self.root), *self._volumes, "--", *environ, *words]

    def process(self) -> int:
        """The id, seen from here, of the command's first process, as soon as it runs."""
        found = eventually(self._first_of_user, START_SECONDS, f"a process of the user {USER}; {self.log}")
        assert found is not None
        return found

    def check_running(self) -> subprocess.Popen[bytes]:
        """What was started. AssertionError where it has ended."""
        assert self._process is not None
        assert self._process.poll() is None, f"ended with {self._process.returncode}"
        return self._process

    def _first_of_user(self) -> int | None:
        wanted = (USER, self._config["Entrypoint"][0])  # what starts it has that user too, under another name
        below = _below(self.check_running().pid)
        return next((process for process, found in below.items() if found == wanted), None)

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside the one that runs, as its user, where that is process 1: what `docker exec` does."""
        inside = ["nsenter", f"--target={self.process()}", "--mount", "--pid", "--root", "--wd", "--"]
        user = [
            "setpriv",
            f"--reuid={USER}",
            f"--regid={USER}",
            "--clear-groups",
            "--bounding-set=-all",
            "--no-new-privs",
        ]
        words = [*inside, *user, "--", "env", "-i", *self._config["Env"], *self._environ, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=END_SECONDS)

    def terminate(self) -> int:
        """Send SIGTERM to the command's process, as an engine does. Returns how the whole ended."""
        os.kill(self.process(), signal.SIGTERM)
        return self.check_running().wait(END_SECONDS)


def _below(ancestor: int) -> dict[int, tuple[int, str]]:
    """Effective user and name of every process below one, by its id, nearest first."""
    every, found = _processes(), [ancestor]
    for above in found:
        found.extend(process for process, (parent, _, _) in every.items() if parent == above)
    return {process: every[process][1:] for process in found[1:]}


def _processes() -> dict[int, tuple[int, int, str]]:
    """Parent, effective user and name of every process, by its id."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            facts = dict(line.split(":\t", 1) for line in (entry / "status").read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        found[int(entry.name)] = (int(facts["PPid"]), int(facts["Uid"].split()[1]), facts["Name"])
    return found
