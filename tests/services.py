"""Producers and consumers as real processes, and a whole fleet of them. Knows their command lines, pages and control sockets.

Every process has a state directory, a HOME and a run directory of its own below the fleet's place, is asked through its control
socket, and ends with the fleet, whatever happens: by its process id, and with the process that started it.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pika
import pika.exceptions

from common.control import ControlClient
from common.entries import BEFORE_ALL, Position
from common.errors import TreecastError
from common.transport.amqp_topology import EVENTS_KEY, Topology
from tests.rabbit import dies_with_parent, free_ports
from tests.transports import free_tree
from tests.waiting import eventually, scaled
from treecast.comparing import compare_trees

LEVEL_SECONDS = 60.0
PAGE_SECONDS = 5.0
ROOT = Path(__file__).resolve().parents[1]
REPLICAS = ("a", "b", "c")
SENTINEL = "sentinel"
"""A file in the source that says how far a replica is: it holds a number."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a process is told beside its own place."""

    tree: str
    broker: str
    more: tuple[str, ...] = ()


class Service:
    """One `python -m producer` or `python -m consumer`. May be started again when it has ended; its log goes on."""

    def __init__(self, module: str, place: Path, options: Options, root: Path, *words: str, program: str = "") -> None:
        """`place`: what is its own (state, home, log). `root`: its source or target. `program`: instead of the module."""
        self.state = place / "state"
        self.log_path = place / "log"
        self.root = root
        self._home = place
        self._program = program or module
        self._words = [f"--tree={options.tree}", f"--broker={options.broker}", *options.more, *words]
        self._words += [f"--{'source' if module == 'producer' else 'target'}={root}", f"--state={self.state}"]
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None
        place.mkdir(parents=True, exist_ok=True)

    def start(self, *words: str) -> Self:
        """Start it; `words` are options for this run only."""
        assert not self.is_running
        command = [sys.executable, "-m", self._program, *self._words, f"--listen=127.0.0.1:{self._port}", *words]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_parent(), *command],
                cwd=ROOT,
                env=private_environment(self._home),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; it must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that it wrote, in every run."""
        return self.log_path.read_text(errors="replace")

    def kill(self) -> None:
        """End it with -9, and wait for it. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_seconds: float) -> int:
        """Its exit code. AssertionError where it has not ended in time."""
        assert self._process is not None
        try:
            return self._process.wait(scaled(timeout_seconds))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} still runs after {scaled(timeout_seconds):g} s") from None

    def status(self) -> dict[str, Any]:
        """What it says of itself; empty where it does not answer (yet)."""
        try:
            return ControlClient(self.state).ask("status")
        except TreecastError:
            assert self.is_running, f"{self} has ended:\n{self.log[-2000:]}"
            return {}

    def metrics(self) -> dict[str, float]:
        """What /metrics says, by name and labels as they stand there. Empty where it does not answer."""
        lines = self.page("/metrics")[1].splitlines()
        told = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
        found = {name: float(value) for name, _, value in told}
        assert len(found) == len(told), "a sample is there twice"
        return found

    @property
    def position(self) -> Position:
        """Where it says to stand."""
        return position_in(self.status())

    @property
    def is_agreed(self) -> bool:
        """Whether it says to be proved equal to the master."""
        return bool(self.status().get("agreed"))

    @property
    def url(self) -> str:
        """Of its listener."""
        return f"http://127.0.0.1:{self._port}"

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page of its listener; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=PAGE_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    @property
    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self.page("/readyz")[0] == 200

    def __str__(self) -> str:
        return f"{self._program} in {self._home.name}"


@dataclass
class Fleet:
    """One tree on one broker: a producer and its replicas, not started. A context, at whose end all processes have ended."""

    place: Path
    broker: str
    replicas: tuple[str, ...] = REPLICAS
    more: tuple[str, ...] = ()
    """Options of every process."""
    tree: str = field(default_factory=free_tree)
    consumers_broker: str = ""
    """The URL of the consumers, where their account is another one."""

    def __post_init__(self) -> None:
        self.source = make_directory(self.place / "source")
        self.options = Options(self.tree, self.broker, self.more)
        self.producer = self.another_producer("producer")
        self.consumers = {name: self._consumer(name) for name in self.replicas}
        self.others: list[Service] = []
        """What else ends with the fleet."""
        self._numbers = count(1)

    def another_producer(self, name: str, program: str = "") -> Service:
        """A producer of the same source with a state of its own; put it into `others` where it is to end with the fleet."""
        return Service("producer", self.place / name, self.options, self.source, program=program)

    def _consumer(self, name: str) -> Service:
        target = make_directory(self.place / "targets" / name)
        options = Options(self.tree, self.consumers_broker or self.broker, self.more)
        return Service("consumer", self.place / name, options, target, f"--replica={name}")

    @property
    def services(self) -> list[Service]:
        """All of them, the producer first."""
        return [self.producer, *self.consumers.values()]

    @property
    def targets(self) -> list[Path]:
        """The replicas' directories."""
        return [consumer.root for consumer in self.consumers.values()]

    def start(self) -> Self:
        """Start all of them at once."""
        for service in self.services:
            service.start()
        return self

    # -- is everything there?

    def settle(self, timeout_seconds: float = LEVEL_SECONDS, but: str = "") -> None:
        """Until what was written before is on every replica (one may be left out), and all agree at the producer's position.

        A sentinel is written last. That it is everywhere shows that the watch has come as far as this call; before that a
        producer may say to be quiet, because it has not heard of anything yet.
        """
        deadline = time.monotonic() + scaled(timeout_seconds)
        number = str(next(self._numbers))
        (self.source / SENTINEL).write_text(number)
        consumers = [consumer for name, consumer in self.consumers.items() if name != but]
        self._until(deadline, lambda: all(reads(one.root / SENTINEL) == number for one in consumers))
        self._until(deadline, lambda: self.is_level(but))

    def is_level(self, but: str = "") -> bool:
        """Whether all is published and every replica (but one) agrees at that position, which has not moved meanwhile."""
        before = self.producer.status()
        if not before.get("quiet"):
            return False
        position = position_in(before)
        for name, consumer in self.consumers.items():
            status = consumer.status() if name != but else {"agreed": True, "position": before["position"]}
            if not status.get("agreed") or position_in(status) != position:
                return False
        after = self.producer.status()
        return bool(after.get("quiet")) and position_in(after) == position

    def _until(self, deadline: float, condition: Callable[[], bool]) -> None:
        while not condition():
            assert time.monotonic() < deadline, f"not level in time: {self.told()}"
            time.sleep(0.02)

    def told(self) -> str:
        """How each process stands, for a test that fails."""
        return "\n".join(f"{service}: {service.status()}\n{service.log[-1500:]}" for service in self.services)

    def check_equal(self) -> None:
        """Every replica's directory equals the source, by our own comparison and by diff."""
        for target in self.targets:
            found = [one.line() for one in compare_trees(os.fsencode(self.source), os.fsencode(target))]
            assert not found, f"{target}: {len(found)} paths differ: {found[:20]}"
            command = ["diff", "-r", "--no-dereference", "--exclude=.treecast", str(self.source), str(target)]
            told = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=scaled(60), check=False
            )
            assert told.returncode == 0, told.stdout[:2000] + told.stderr[:2000]

    # -- the end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in (*self.services, *self.others):
            service.kill()
        if self.broker.startswith("amqp"):
            remove_from_broker(self.broker, self.tree, self.replicas)
        if error is None:
            shutil.rmtree(self.place, ignore_errors=True)


def private_environment(home: Path) -> dict[str, str]:
    """The caller's environment without anything of ours, with HOME and run directory of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TREECAST_", "XDG_", "STATE_"))}
    run = make_directory(home / "run")
    run.chmod(0o700)
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(run), "NO_COLOR": "1"}


def make_directory(path: Path) -> Path:
    """The directory itself, made where it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def position_in(status: dict[str, Any]) -> Position:
    """The position that a status tells."""
    told = status.get("position")
    return Position(told["epoch"], told["sequence"]) if told else BEFORE_ALL


def reads(path: Path) -> str | None:
    """The file's text; None where there is none."""
    try:
        return path.read_text()
    except OSError:
        return None


def await_agreed(consumer: Service, timeout_seconds: float = LEVEL_SECONDS) -> None:
    """Until this replica says that it is proved equal."""
    eventually(lambda: consumer.is_agreed, timeout_seconds, f"{consumer} agrees")


def treecast(service: Service, *words: str, code: int = 0) -> str:
    """What a command says that is told this one's state directory; it must end with this code."""
    command = [sys.executable, "-m", "treecast", *words, "--state", str(service.state)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=private_environment(service.state.parent),
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def stop(service: Service) -> None:
    """End it in order."""
    service.ask_to_stop()
    assert service.wait(30) == 0


def alarms(service: Service) -> dict[str, str]:
    """The alarms that are on, and what each says."""
    return {alarm["kind"]: alarm["detail"] for alarm in service.status().get("alarms", [])}


def delete_queue(broker: str, tree: str, replica: str) -> None:
    """As an administrator would, while it is consumed."""
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        connection.channel().queue_delete(Topology(tree).replica_queue(replica))


def purge_queue(broker: str, tree: str, replica: str) -> int:
    """As an administrator would; how many messages went."""
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        purged = connection.channel().queue_purge(Topology(tree).replica_queue(replica))
        return purged.method.message_count or 0


def waiting_in_queue(broker: str, tree: str, replica: str) -> int:
    """How many messages are in a replica's queue that were not handed out."""
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        queue = connection.channel().queue_declare(Topology(tree).replica_queue(replica), passive=True)
        return queue.method.message_count or 0


def has_queue(broker: str, tree: str, replica: str) -> bool:
    """Whether the queue of a replica that is away is there, by a message that expires at once, and comes back where no queue is.

    Such a look is no use of the queue: a declare, also a passive one, would renew the time after which it expires.
    """
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        expired = pika.BasicProperties(expiration="0")
        try:
            channel.basic_publish("", Topology(tree).replica_queue(replica), b"", expired, mandatory=True)
        except pika.exceptions.UnroutableError:
            return False
        return True


class Listener:
    """Hears everything that a producer says to all replicas, through a queue of its own. A context."""

    def __init__(self, broker: str, tree: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(broker))
        self._channel = self._connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue or ""
        self._channel.queue_bind(self._queue, Topology(tree).events, EVENTS_KEY)

    def heard(self) -> list[bytes]:
        """The messages that have come, oldest first."""
        found: list[bytes] = []
        while (body := self._channel.basic_get(self._queue, auto_ack=True)[2]) is not None:
            found.append(cast(bytes, body))  # types-pika says str, pika gives bytes
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def remove_from_broker(broker: str, tree: str, replicas: tuple[str, ...]) -> None:
    """A broker may be another test's next; whatever is not there is fine. A broker that is away keeps what it has."""
    names = Topology(tree)
    try:
        with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
            channel = connection.channel()
            for queue in (names.upstream, *map(names.replica_queue, replicas)):
                channel.queue_delete(queue)
            for exchange in (names.events, names.direct, names.upstream):
                channel.exchange_delete(exchange)
    except pika.exceptions.AMQPError:
        return
