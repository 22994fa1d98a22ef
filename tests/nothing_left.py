"""Runs a command as the ancestor of all that it starts, so that nothing outlives it. Knows no tests.

    python tests/nothing_left.py COMMAND [ARGUMENT...]

Whatever loses its parent becomes a child of this process (Linux alone can do that). What still runs when the command has
ended is named on standard error, killed and waited for, and the exit code is then not 0. Ctrl-C is for the command.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 3.0
"""What was ended in the last moment may need this long to go."""


def adopt_orphans() -> None:
    """From now on a descendant that loses its parent becomes our child. Does nothing where the system cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants() -> list[int]:
    """Ids of living processes below this one, nearest first; those that have ended already are waited for."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if state != b"Z":
                parents[int(entry.name)] = int(parent)
    found = [os.getpid()]
    for ancestor in found:
        found.extend(process for process, parent in parents.items() if parent == ancestor)
    return found[1:]


def shown(process: int) -> str:
    """A process for a person: its id and its command line."""
    with contextlib.suppress(OSError):
        return f"{process} {Path(f'/proc/{process}/cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}"
    return str(process)


def end_leftovers() -> bool:
    """Whether anything was left running. It is named and killed."""
    deadline = time.monotonic() + GRACE_SECONDS
    while left := descendants():
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    was_left = bool(left)
    while left:
        for process in left:
            print(f"left running: {shown(process)}", file=sys.stderr)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)
        left = descendants()
    return was_left


def main(command: list[str]) -> int:
    """Run the command. Returns its exit code (128 and the signal where one ended it), or 1 where it left something running."""
    adopt_orphans()
    child = subprocess.Popen(command)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = child.wait()
    was_left = end_leftovers()
    return code if code > 0 else 128 - code if code else int(was_left)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
