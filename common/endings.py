"""Does: ends a program. One place maps errors to exit codes, and prints the one line that says why."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

from common.codes import FAILED, INTERRUPTED, OUT_OF_REACH, STOPPED, TERMINATED, USAGE
from common.errors import SettingError, StateError, StoppedError, TreecastError, UnreachableError

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (SettingError, USAGE),
    (UnreachableError, OUT_OF_REACH),
    (StoppedError, STOPPED),
    (StateError, STOPPED),
    (KeyboardInterrupt, INTERRUPTED),
)


def exit_code(error: BaseException) -> int:
    """The exit code that an error ends a program with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def line_for(error: BaseException) -> str:
    """What a person is told: our own errors in their words; what we did not foresee with its kind and its place."""
    if isinstance(error, TreecastError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = f"unexpected {type(error).__name__}: {error} ({_place(error)}); TREECAST_DEBUG=1 shows more"
    return text.replace("\n", "\\n").replace("\r", "\\r")


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "nowhere"


def heed_sigterm() -> None:
    """Let SIGTERM end this program also where it is process 1, as in a container: there the kernel drops what nobody handles.

    For the time until a service has handlers of its own, and for commands that have none. Elsewhere it changes nothing.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))


def guarded(act: Callable[[], int]) -> int:
    """The exit code of an act, whatever it ends with; prints one line to standard error where it ended with an error."""
    try:
        return act()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): nobody is there to be told, the flush at exit included.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the one place that turns every error into a line and a code
        return end_with(error)


def end_with(error: BaseException) -> int:
    """Print the error's line (and its traceback where TREECAST_DEBUG is set). Returns its exit code."""
    if os.environ.get("TREECAST_DEBUG"):
        traceback.print_exception(error)
    print(f"treecast: {line_for(error)}", file=sys.stderr)
    return exit_code(error)
