"""A private RabbitMQ for tests and scripts: on loopback, all its places throw-away, nothing left running. Knows no Treecast.

Debian's package is enough, and no root. `PrivateRabbit` also serves outside pytest, as a context manager. The fixtures start
one broker for each test worker that needs one, at its first use; tests marked with `needs_rabbit` share a worker under
`pytest --dist loadgroup`, and give themselves trees of their own.
"""

import base64
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

UNTESTED = "NOT TESTED ON RABBITMQ"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
CONTROL_SECONDS = 120.0
"""Its command line takes a second on a machine that is idle, and half a minute on one that is busy."""
ATTEMPTS = 3
"""A port may be taken between our look and the broker's bind: then all is tried anew with others."""

ADMIN = ("guest", "guest")
WRITER = ("writer", "writer-secret")
"""May read and write everything of Treecast's, and configure nothing."""
LEAST = ("least", "least-secret")
"""May what the README gives to the replica `a`, of any tree."""

needs_rabbit = (pytest.mark.rabbit, pytest.mark.xdist_group("rabbit"))
"""For `pytestmark = [*needs_rabbit]`, or as decorators: skipped without RabbitMQ, all on one worker."""


class RabbitUnavailableError(Exception):
    """RabbitMQ is not installed here, or did not start; the message says which, with the end of its log."""


class PrivateRabbit:
    """One node and its epmd. Start and stop from the thread that lives longest: the two end with it, whatever happens.

    `url` is for the administrator, `writer_url` for an account that may configure nothing, `tls_url` with the certificate in
    `cafile`, which is for the name localhost. They, and what is durable, stay the same over `restart`.
    """

    def __init__(self) -> None:
        self._scripts = find_scripts()
        self._place = Path(tempfile.mkdtemp(prefix="rabbit-"))
        self._epmd: subprocess.Popen[bytes] | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.tls_port = 0
        self._is_managed = False
        self.cafile = self._place / "tls.pem"

    @property
    def url(self) -> str:
        """The administrator's URL, of vhost `/`."""
        return self.url_for(*ADMIN)

    @property
    def writer_url(self) -> str:
        """The URL of the account that may configure nothing."""
        return self.url_for(*WRITER)

    @property
    def least_url(self) -> str:
        """The URL of the account that may only do what a replica `a` needs."""
        return self.url_for(*LEAST)

    @property
    def tls_url(self) -> str:
        """The administrator's URL over TLS, with what verifies it."""
        return f"amqps://{':'.join(ADMIN)}@localhost:{self.tls_port}/?cafile={self.cafile}"

    @property
    def management_url(self) -> str:
        """The administrator's URL of the management API. Its plugin is started at the first use, which takes seconds."""
        if not self._is_managed:
            self._run("rabbitmq-plugins", "enable", "rabbitmq_management")
            self._is_managed = True
        return f"http://{':'.join(ADMIN)}@127.0.0.1:{self._management_port}"

    def url_for(self, user: str, password: str) -> str:
        """The URL for whoever says to be so."""
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._choose_ports()
                self.start()
            except RabbitUnavailableError:
                self._end_processes()
                if attempt == ATTEMPTS:
                    shutil.rmtree(self._place, ignore_errors=True)
                    raise
            except BaseException:
                self.close()
                raise
            else:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the node (and epmd) and wait until it speaks AMQP. Raises RabbitUnavailableError after a minute."""
        if self._epmd is None:
            self._epmd = self._spawn([_program("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1"])
            # A node that finds no epmd starts one that outlives it.
            self._wait_until(lambda: not _is_free(self._epmd_port), self._epmd)
        self._broker = self._spawn([str(self._scripts / "rabbitmq-server")])
        self._wait_until(lambda: speaks_amqp(self.port), self._broker)

    def _wait_until(self, is_ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RabbitUnavailableError(f"RabbitMQ did not start:\n{self._log_tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Shut down in order, and wait for the process. Idempotent."""
        self._end_broker(signal.SIGTERM)

    def kill(self) -> None:
        """End the node without a word, and wait for the process. Idempotent."""
        self._end_broker(signal.SIGKILL)

    def freeze(self) -> None:
        """It takes what is sent, as far as the system buffers it, and answers nothing. `kill` ends it all the same."""
        assert self._broker is not None
        self._broker.send_signal(signal.SIGSTOP)

    def restart(self) -> None:
        """Stop in order and start again; what is durable is there again."""
        self.stop()
        self.start()

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` says to these arguments. Takes a second or two, or many. Raises CalledProcessError."""
        return self._run("rabbitmqctl", *arguments)

    def paste(self, line: str) -> str:
        """As an administrator would who was given this line, one of `rabbitmqctl`."""
        program, *words = shlex.split(line)
        assert program == "rabbitmqctl", line
        return self.control(*words)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._scripts / program), "-n", self._node, *arguments]
        done = subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, timeout=CONTROL_SECONDS
        )
        return done.stdout.decode()

    def close(self) -> None:
        """End both processes, wait for them, and throw the places away. Idempotent."""
        self._end_processes()
        shutil.rmtree(self._place, ignore_errors=True)

    def _end_processes(self) -> None:
        # The place is thrown away: a shutdown in order would only take longer.
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _end_broker(self, how: signal.Signals) -> None:
        if self._broker is None:
            return
        self._broker.send_signal(how)
        try:
            self._broker.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._broker.kill()
            self._broker.wait()
        self._broker = None

    def _choose_ports(self) -> None:
        self.port, self.tls_port, self._dist_port, self._epmd_port, self._management_port = free_ports(5)
        self._node = f"treecast{self.port}@localhost"
        self._write_places()

    def _write_places(self) -> None:
        (self._place / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.cafile}\n"
            f"ssl_options.keyfile = {self._place}/tls.key\n"
            "ssl_options.verify = verify_none\n"
            f"load_definitions = {self._place}/definitions.json\n"
            "disk_free_limit.absolute = 1MB\n"
        )
        (self._place / "definitions.json").write_text(json.dumps(_definitions()))
        (self._place / "plugins").write_text("[].\n")
        (self._place / "environment").write_text("")
        make_certificate(self.cafile, self._place / "tls.key")

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        return {
            **inherited,
            "HOME": str(self._place),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-start_epmd false",
            "RABBITMQ_CONF_ENV_FILE": str(self._place / "environment"),
            "RABBITMQ_CONFIG_FILE": str(self._place / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._place / "plugins"),
            "RABBITMQ_LOG_BASE": str(self._place / "log"),
            "RABBITMQ_MNESIA_BASE": str(self._place / "data"),
            "RABBITMQ_PID_FILE": str(self._place / "pid"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            # No busy waiting and no binding to cores: they are shared with the tests.
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none "
            # For who asks for the management API: where it is, and that it is quick to see a change.
            f'-rabbitmq_management tcp_config [{{port,{self._management_port}}},{{ip,"127.0.0.1"}}] '
            "-rabbit collect_statistics_interval 1000",
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C is for the tests, which then end the broker in order.
        with (self._place / "output").open("ab") as output:
            return subprocess.Popen(
                [*dies_with_parent(), *command],
                env=self._environment(),
                cwd=self._place,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _log_tail(self) -> str:
        return (self._place / "output").read_text(errors="replace")[-2000:]


def find_scripts() -> Path:
    """Where RabbitMQ's own scripts are (those in /usr/sbin change the user). Raises RabbitUnavailableError."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise RabbitUnavailableError("RabbitMQ is not installed (package rabbitmq-server)")
    return found[-1].parent


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now and lie below those that the system gives to clients."""
    chosen: list[int] = []
    while len(chosen) < count:
        port = random.randrange(20000, 32000)
        if port not in chosen and _is_free(port):
            chosen.append(port)
    return chosen


def speaks_amqp(port: int) -> bool:
    """Whether a broker on this loopback port answers the protocol header with a method frame, Connection.Start."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def make_certificate(certificate: Path, key: Path) -> None:
    """A self-signed certificate for localhost, as PEM. Raises RabbitUnavailableError where there is no openssl."""
    command = [_program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/lib/erlang/bin")
    if found is None:
        raise RabbitUnavailableError(f"{name} is not installed")
    return found


def dies_with_parent() -> list[str]:
    """What to put before a command, so that it ends with the process that starts it; its id stays its own."""
    # Even where the tests are killed without a word, no broker outlives them. The process id stays the program's own.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _definitions() -> dict[str, object]:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    no_configure = {"configure": "^$", "write": r"^treecast\..*", "read": r"^treecast\..*"}
    least = {"configure": "^$", "write": r"^treecast\.[^.]*\.upstream$", "read": r"^treecast\.[^.]*\.replica\.a$"}
    return {
        "vhosts": [{"name": "/"}],
        "users": [_user(*ADMIN, tags="administrator"), _user(*WRITER, tags=""), _user(*LEAST, tags="")],
        "permissions": [
            {"user": ADMIN[0], "vhost": "/", **everything},
            {"user": WRITER[0], "vhost": "/", **no_configure},
            {"user": LEAST[0], "vhost": "/", **least},
        ],
    }


def _user(name: str, password: str, *, tags: str) -> dict[str, object]:
    salt = b"salt"
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    return {
        "name": name,
        "password_hash": digest,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
        "limits": {},
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested is said at the end, whatever pytest was asked to show."""
    skipped = [report for report in terminalreporter.getreports("skipped") if UNTESTED in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests: {UNTESTED}", red=True, bold=True)


def skip_or_fail(reason: str) -> None:
    """Skip, in a loud line; where CI is set, fail: there the broker must be."""
    text = f"{UNTESTED}: {reason}"
    if os.environ.get("CI"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


@pytest.fixture(scope="session")
def private_rabbit() -> Iterator[PrivateRabbit]:
    """A broker of this worker's own, which a test may stop and start, if it leaves it running and without alarms."""
    try:
        broker = PrivateRabbit().__enter__()
    except RabbitUnavailableError as error:
        skip_or_fail(str(error))
        return
    try:
        yield broker
    finally:
        broker.close()


@pytest.fixture(scope="session")
def rabbit_url(request: pytest.FixtureRequest) -> str:
    """The administrator's URL of a RabbitMQ: that of `--broker`, else of the private one."""
    given: str | None = request.config.getoption("--broker", None)
    if given:
        return given
    broker: PrivateRabbit = request.getfixturevalue("private_rabbit")
    return broker.url
