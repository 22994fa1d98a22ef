"""Does: the control socket of a running process, and how a command finds and asks it.

`control.sock` (0600) in the state directory: one JSON line in, one out. Nothing else can command a process: no network
port, no signal. A link in the run directory leads from "the one that runs here" to its state directory. Knows no verb.

    question  {"verb": "status", ...arguments}
    answer    {"result": {...}}  or an error, as in `error_json`
"""

import contextlib
import errno
import json
import logging
import os
import socket
import socketserver
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common import error_json
from common.endings import line_for
from common.errors import AlreadyRunningError, NeedsUpgradeError, SettingError, TreecastError, UnreachableError
from common.places import is_own_directory, make_run_directory, run_directories

log = logging.getLogger("treecast")

SOCKET_NAME = "control.sock"
LINE_LIMIT_BYTES = 16 << 20
QUESTION_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 2.0

_SHORT_ENOUGH_BYTES = 100
"""A socket's address holds 104 bytes on some systems and 108 on others."""

Verb = Callable[[dict[str, Any]], dict[str, Any]]


class ControlServer:
    """Answers verbs in threads of its own until it is closed. A verb may raise errors of ours: the asker gets them.

    `name`: tree and role or replica, as in "playlists.producer"; what the process is found by. Raises AlreadyRunningError
    when a living process answers in this state directory; replaces the socket of a dead one.
    """

    def __init__(self, state: Path, name: str, verbs: Mapping[str, Verb], environ: Mapping[str, str]) -> None:
        self._path = state / SOCKET_NAME
        self._server = _Server(_bound(state), verbs)
        self._identity = _identity(self._path)
        self._link = _leave_link(state, name, environ)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering; remove the socket and the link. Idempotent."""
        if self._link is not None:
            _remove_link(self._link, self._path.parent)
        # Whoever replaced our socket keeps theirs.
        if self._identity is not None and _identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, verbs: Mapping[str, Verb]) -> None:
        super().__init__("", _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.verbs = verbs

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("an asker on the control socket went away")


class _Handler(socketserver.StreamRequestHandler):
    timeout = QUESTION_TIMEOUT_SECONDS
    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline(LINE_LIMIT_BYTES)
        if line:
            self.wfile.write(json.dumps(answer(self.server.verbs, line)).encode() + b"\n")


def answer(verbs: Mapping[str, Verb], line: bytes) -> dict[str, Any]:
    """What comes of one question. Never raises."""
    try:
        question = json.loads(line)
        verb = question.pop("verb")
        if verb not in verbs:
            raise NeedsUpgradeError("verb-unknown", f"the running process does not know {verb!r}; restart it, upgraded")
        return {"result": verbs[verb](question)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {"error": f"the question is malformed ({type(error).__name__})", "kind": ""}
    except Exception as error:  # noqa: BLE001 - a broken verb must not end the process that was asked
        return error_json.told(error, line_for(error))


class Running(NamedTuple):
    """A process that was found: its name (tree and role or replica) and its state directory."""

    name: str
    state: Path


class ControlClient:
    """Asks one running process. Every question is a connection of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state

    @classmethod
    def find(cls, state: Path | None, tree: str | None, environ: Mapping[str, str]) -> "ControlClient":
        """The one of `find_all`. Raises UnreachableError when none runs, SettingError when several do."""
        found = cls.find_all(state, tree, environ)
        if len(found) > 1:
            several = ", ".join(f"{one.state} ({name})" for name, one in found)
            raise SettingError("--state", "several processes", f"one of {several}")
        return found[0][1]

    @classmethod
    def find_all(
        cls, state: Path | None, tree: str | None, environ: Mapping[str, str]
    ) -> "list[tuple[str, ControlClient]]":
        """The process with this state directory (or TREECAST_STATE), else all that run here, of this tree if told.

        With their names; one that is told by its directory has none. Raises UnreachableError when none runs.
        """
        told = (
            state if state is not None else (Path(environ["TREECAST_STATE"]) if environ.get("TREECAST_STATE") else None)
        )
        if told is not None:
            return [("", cls(told))]
        found = [one for one in running(environ) if tree is None or one.name.startswith(f"{tree}.")]
        if not found:
            raise UnreachableError("no treecast process of this user runs here; try: treecast status --state DIRECTORY")
        return [(one.name, cls(one.state)) for one in found]

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """The verb's result. Raises UnreachableError when nobody answers, and the errors that the verb raises."""
        question = json.dumps({"verb": verb, **arguments}).encode() + b"\n"
        try:
            with _connected(self.state) as line:
                line.settimeout(QUESTION_TIMEOUT_SECONDS)
                line.sendall(question)
                with line.makefile("rb") as stream:
                    reply = json.loads(stream.readline(LINE_LIMIT_BYTES))
        except TimeoutError as error:
            raise UnreachableError(
                f"the process in {self.state} runs, and has not answered for {QUESTION_TIMEOUT_SECONDS:g} s; does its disk?"
                " See its log"
            ) from error
        except (OSError, ValueError) as error:
            raise UnreachableError(
                f"no process answers in {self.state} ({error}); start it: treecast produce or treecast consume"
            ) from error
        if "result" in reply:
            result: dict[str, Any] = reply["result"]
            return result
        raise error_json.error_from(reply)


def running(environ: Mapping[str, str]) -> list[Running]:
    """The processes of this user that answer, by name; links of dead ones are removed."""
    found = {}
    for directory in run_directories(environ):
        if is_own_directory(directory):
            for link in sorted(directory.glob("*.pid")):
                state = _living(link)
                if state is not None:
                    found[os.path.realpath(state)] = Running(link.name.rpartition(".")[0].rpartition(".")[0], state)
    return sorted(found.values())


def _living(link: Path) -> Path | None:
    """The state directory that a link leads to, if its process answers; a dead link is removed."""
    try:
        state = Path(os.readlink(link))
    except OSError:
        return None
    if is_answering(state):
        return state
    link.unlink(missing_ok=True)
    return None


def is_answering(state: Path) -> bool:
    """Whether a living process listens in this state directory; one that is too busy to answer is alive too."""
    try:
        _connected(state).close()
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _connected(state: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.settimeout(CONNECT_TIMEOUT_SECONDS)
        with _short_address(state) as address:
            line.connect(address)
    except OSError:
        line.close()
        raise
    return line


def _bound(state: Path) -> socket.socket:
    """A listening socket in the state directory, for its owner alone; the socket of a dead process is replaced."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before the bind: the file is never there with wider permissions, not for a moment.
        os.fchmod(listening.fileno(), 0o600)
        with _short_address(state) as address:
            try:
                listening.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _remove_dead(state)
                listening.bind(address)
        os.chmod(state / SOCKET_NAME, 0o600)
        listening.listen(16)
    except OSError as error:
        listening.close()
        raise SettingError("TREECAST_STATE", str(state), f"a directory that can hold a socket ({error})") from error
    except TreecastError:
        listening.close()
        raise
    return listening


def _remove_dead(state: Path) -> None:
    """RACE: two starters may both find the socket dead; the second removes the first's. The state's lock stops one of them."""
    if is_answering(state):
        raise AlreadyRunningError(
            f"another treecast process runs with the state directory {state}; see: treecast status --state {state}"
        )
    (state / SOCKET_NAME).unlink(missing_ok=True)


@contextlib.contextmanager
def _short_address(state: Path) -> Iterator[str]:
    """An address of the state directory's socket that fits, however long its path: through a descriptor or a short link."""
    direct = str(state / SOCKET_NAME)
    if len(os.fsencode(direct)) <= _SHORT_ENOUGH_BYTES:
        yield direct
    elif sys.platform == "linux":
        directory = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{directory}/{SOCKET_NAME}"
        finally:
            os.close(directory)
    else:
        with tempfile.TemporaryDirectory(prefix="tc", dir="/tmp") as short:
            os.symlink(state, f"{short}/s")
            yield f"{short}/s/{SOCKET_NAME}"


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None


def _leave_link(state: Path, name: str, environ: Mapping[str, str]) -> Path | None:
    """A link from the run directory to the state directory; None where there is no place for one: then `--state` is needed."""
    directory = make_run_directory(environ)
    if directory is None:
        log.info("no run directory for this user: commands find this process with --state %s only", state)
        return None
    link = directory / f"{name}.{os.getpid()}.pid"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.abspath(state))
    except OSError as error:
        log.info("no link in %s (%s): commands find this process with --state %s only", directory, error, state)
        return None
    return link


def _remove_link(link: Path, state: Path) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(link) == os.path.abspath(state):
            link.unlink()
