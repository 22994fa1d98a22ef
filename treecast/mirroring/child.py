"""Does: one child process: a producer or a consumer that this command started, asked through its control socket.

A child is in a session of its own, so that Ctrl-C reaches this command alone; it is told to end when this command ends, however
that comes. It is given its settings on its command line, and none of the caller's TREECAST_ variables that could mislead it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.codes import FAILED, STOPPED, USAGE
from common.control import ControlClient
from common.errors import TreecastError
from common.places import make_state_directory

PASSED_ON = frozenset({
    "TREECAST_DEBUG", "TREECAST_HOLD", "TREECAST_LARGE_LIMIT", "TREECAST_LOG_LEVEL", "TREECAST_QUEUE_LIMIT",
    "TREECAST_SCAN_INTERVAL", "TREECAST_WATCH",
})  # fmt: skip
"""Variables of the caller that mean in a child what they mean everywhere."""
_ARGUMENTS = {"TREECAST_SOURCE": "SOURCE", "TREECAST_TARGET": "REPLICA", "TREECAST_STATE": "--state"}
"""What a child calls a setting, and what the person who typed this command calls it."""
LOG_NAME = "log"
STOP_SECONDS = 15.0
"""A child that does not end within this time after it was told is killed: its state is safe at any moment."""
_STOP_POLL_SECONDS = 0.01
_LOG_TAIL_BYTES = 65536
_PR_SET_PDEATHSIG = 1


Options = Mapping[str, str | tuple[str, ...] | bool]
"""Settings by name. A list is given once for each; a switch is given or not."""


class ChildEndedError(TreecastError):
    """A child ended that should not have. `why`: its own words; `code`: what this command's exit code is for it."""

    def __init__(self, shown: str, why: str, code: int) -> None:
        super().__init__(f"{shown}: {why}")
        self.why = why
        self.code = code


class Child:
    """One child process. `start` may be called again when it has ended. Start it from the main thread: it lives no longer."""

    def __init__(self, module: str, shown: str, state: Path, options: Options) -> None:
        """`module`: "producer" or "consumer". `shown`: what a person calls it. `options`: its settings, without its state."""
        self.shown = shown
        self.state = state
        self._module = module
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    @property
    def log(self) -> Path:
        """What it writes to standard error."""
        return self.state / LOG_NAME

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start it; its state directory is made when missing. SettingError where that cannot be."""
        make_state_directory("--state", self.state)
        command = [sys.executable, "-P", "-m", self._module, *_spelled({**self._options, "state": str(self.state)})]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd="/",
                env=child_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call, before any thread of ours is started
            )
        self._is_stopped = False

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any] | None:
        """What it answers; None when it does not, or does not know the verb."""
        try:
            return ControlClient(self.state).ask(verb, **arguments)
        except TreecastError:
            return None

    def status(self) -> dict[str, Any] | None:
        """What it says of itself; None when it does not answer (yet, or any more)."""
        if self.pid is None:
            return None
        try:
            return ControlClient(self.state).ask("status")
        except TreecastError:
            return None

    def failure(self) -> ChildEndedError | None:
        """Why it ended, when it did and was not told to: its own last line, and the exit code that goes with it."""
        code = self._process.poll() if self._process is not None else None
        if code is None or self._is_stopped:
            return None
        return ChildEndedError(self.shown, self._last_words(code), code if code in (USAGE, STOPPED) else FAILED)

    def ask_to_stop(self) -> None:
        """Tell it to end; it does so within seconds, losing nothing. Idempotent."""
        if self._process is not None and self._process.poll() is None and not self._is_stopped:
            self._is_stopped = True
            self._process.terminate()

    def kill(self) -> None:
        """End it at once, as a crash would, and wait for that. Idempotent."""
        if self._process is not None and self._process.poll() is None:
            self._is_stopped = True
            self._process.kill()
            self._process.wait()

    def has_ended(self) -> bool:
        """Whether it is not running."""
        return self.pid is None

    def _last_words(self, code: int) -> str:
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        ours = [line.removeprefix("treecast: ") for line in lines if line.startswith("treecast: ")]
        if ours:
            setting, colon, rest = ours[-1].partition(":")
            return f"{_ARGUMENTS.get(setting, setting)}{colon}{rest}"
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"{how}; its last line: {lines[-1]}" if lines else how


def stop_all(children: list[Child]) -> None:
    """End every child and wait until all have. One that does not end in time is killed; a second Ctrl-C kills all at once."""
    try:
        for child in children:
            child.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and not all(child.has_ended() for child in children):
            time.sleep(_STOP_POLL_SECONDS)
    finally:
        for child in children:
            child.kill()


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would be taken for a child's setting."""
    kept = {name: value for name, value in environ.items() if not name.startswith("TREECAST_") or name in PASSED_ON}
    kept.pop("STATE_DIRECTORY", None)
    root = str(Path(__file__).resolve().parents[2])
    # Run from a directory that holds the packages (`python -m treecast`), a child must find them there too.
    if sys.path and not sys.flags.safe_path and os.path.realpath(sys.path[0] or ".") == root:
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH")]))
    return kept


def _spelled(options: Options) -> list[str]:
    words = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words += [option] if value else []
        else:
            words += [f"{option}={one}" for one in ((value,) if isinstance(value, str) else value)]
    return words


def _die_with_parent() -> Callable[[], None] | None:
    """What a child does before it becomes another program: it asks the kernel to be told when its parent is gone."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        # RACE: the parent may have gone before the kernel was asked.
        if os.getppid() != parent:
            os._exit(FAILED)

    return ask
