"""The story that `./dev image` tells: both roles from the image against a RabbitMQ, as an engine would run them.

    python -m image.try_roles IMAGE

Each line says what was seen; what is not so ends it with an AssertionError. Root, buildah and RabbitMQ are needed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from image.box import USER, Box, buildah, image_config
from tests.rabbit import ADMIN, PrivateRabbit, free_ports
from tests.waiting import eventually

TREE = "playlists"
ARRIVAL_SECONDS = 60.0
OLD = "summer/old.m3u"
"""A file that is in the source before anything runs; it stays, for a source that is empty all at once is believed by nobody."""
PASSWORD_PLACE = "/run/secrets/broker-password"


def told(text: str) -> None:
    """One line of the story."""
    print(f"image: {text}", flush=True)


def answers(port: int, page: str) -> bool:
    """Whether a page says 200: what a probe asks."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class Role:
    """A box with a tree, a state and a password, each in a place of its own on this machine."""

    def __init__(self, image: str, place: Path, verb: str, broker_port: int) -> None:
        self.verb = verb
        self.port = free_ports(1)[0]
        self.tree = place / verb / "tree"
        state, password = place / verb / "state", place / verb / "password"
        for directory in (self.tree, state):
            directory.mkdir(parents=True)
            os.chown(directory, USER, USER)
        password.write_text(ADMIN[1])
        password.chmod(0o444)
        volumes = [f"{self.tree}:/srv/tree{':ro' if verb == 'produce' else ''}", f"{state}:/var/lib/treecast"]
        environ = {
            "TREECAST_TREE": TREE,
            "TREECAST_BROKER": f"amqp://{ADMIN[0]}@127.0.0.1:{broker_port}/",
            "TREECAST_BROKER_PASSWORD_FILE": PASSWORD_PLACE,
            "TREECAST_LISTEN": f"127.0.0.1:{self.port}",
            **({"TREECAST_SOURCE": "/srv/tree"} if verb == "produce" else {"TREECAST_TARGET": "/srv/tree"}),
            **({"TREECAST_REPLICA": "replica-a"} if verb == "consume" else {}),
        }
        self.box = Box(image, [*volumes, f"{password}:{PASSWORD_PLACE}:ro"], environ, place / f"{verb}.log")

    def start(self, *, as_first: bool = False) -> None:
        """Start it as its box does."""
        self.box.start(self.verb, as_first=as_first)

    def wait_ready(self) -> None:
        """Until both probes are answered well."""
        eventually(self._is_ready, ARRIVAL_SECONDS, f"{self.verb} ready")

    def _is_ready(self) -> bool:
        self.box.check_running()
        return answers(self.port, "healthz") and answers(self.port, "readyz")

    def wait_status(self) -> None:
        """Until `treecast status`, run beside it, finds it and says that all is well."""
        eventually(
            lambda: self.box.exec("treecast", "status").returncode == 0, ARRIVAL_SECONDS, f"status of {self.verb}"
        )

    def check_confined(self, *, as_first: bool) -> None:
        """Its process is no root, has no capability, and sees a root file system that is read-only."""
        place = Path(f"/proc/{self.box.process()}")
        facts = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
        assert facts["Uid"].split() == [str(USER)] * 4, facts["Uid"]
        assert int(facts["CapEff"], 16) == 0 == int(facts["CapPrm"], 16)
        assert (facts["NSpid"].split()[-1] == "1") == as_first, facts["NSpid"]
        roots = [line.split() for line in (place / "mountinfo").read_text().splitlines() if line.split()[4] == "/"]
        assert "ro" in roots[-1][5].split(","), roots


@contextmanager
def roles(image: str, broker_port: int) -> Iterator[tuple[Role, Role]]:
    """A producer and a consumer; what they said is shown where something fails."""
    with tempfile.TemporaryDirectory(prefix="image-") as name, ExitStack() as boxes:
        place = Path(name)
        place.chmod(0o755)
        both = Role(image, place, "produce", broker_port), Role(image, place, "consume", broker_port)
        for one in both:
            boxes.enter_context(one.box)
        (both[0].tree / OLD).parent.mkdir()
        (both[0].tree / OLD).write_text("was here before\n")
        try:
            yield both
        except BaseException:
            for one in both:
                print(
                    f"--- {one.verb}\n{one.box.log.read_text()}" if one.box.log.exists() else one.verb, file=sys.stderr
                )
            raise


def publish(producer: Role, consumer: Role, name: str) -> float:
    """Write a file on the master and wait for it on the replica. Returns the seconds that took."""
    begun = time.monotonic()
    fresh = producer.tree / f"{name}.new"
    fresh.write_text(f"content of {name}\n")
    fresh.rename(producer.tree / name)
    copy = consumer.tree / name
    eventually(lambda: copy.exists() and copy.read_text() == f"content of {name}\n", ARRIVAL_SECONDS, f"{name} there")
    return time.monotonic() - begun


def live(producer: Role, consumer: Role, *, as_first: bool) -> None:
    """One life of both: ready, confined, a file comes and goes, SIGTERM ends each with 0."""
    how = "as process 1" if as_first else "by buildah run --isolation chroot"
    for one in (producer, consumer):
        one.start(as_first=as_first)
    for one in (producer, consumer):
        one.wait_ready()
        one.check_confined(as_first=as_first)
    told(f"both roles run {how}: ready, user {USER}, no capability, read-only root")
    # What was there before both: it comes as an answer, out of the producer's second process.
    assert (consumer.tree / OLD).read_text() == (producer.tree / OLD).read_text()
    taken = publish(producer, consumer, "party.m3u")
    (producer.tree / "party.m3u").unlink()
    eventually(lambda: not (consumer.tree / "party.m3u").exists(), ARRIVAL_SECONDS, "party.m3u gone")
    told(f"a file was on the replica after {taken:.2f} s, and went when it was deleted")
    if as_first:
        for one in (producer, consumer):
            one.wait_status()
        told("treecast status finds both from beside them")
    for one in (consumer, producer):
        begun = time.monotonic()
        code = one.box.terminate()
        assert code == 0, f"{one.verb} ended with {code} after SIGTERM"
        told(f"SIGTERM ended {one.verb} with 0 after {time.monotonic() - begun:.1f} s")


def check_nothing_leaked(image: str, root: Path) -> None:
    """Neither where this machine has its packages from nor what pip left is in the image."""
    words = {value.strip("'\"") for value in re.findall(r"='?(.*?)'?$", pip_config(), re.MULTILINE) if "/" in value}
    words |= {value for name, value in os.environ.items() if name.lower().endswith("_proxy") and value}
    words |= {"/wheels"}
    found = [word for word in sorted(words) if _grep(word, root / "opt") or _grep(word, root / "etc")]
    # The authorities' own certificates lie where pip may be told to look for them.
    assert [word for word in found if not word.startswith("/etc/ssl/certs/")] == []
    assert not any((root / "var/lib/treecast").iterdir()), "the state directory is not empty"
    assert not (root / "root/.cache").exists(), "pip left its cache"
    assert (root / "etc/apt/sources.list").read_text() == ""
    assert "PIP_" not in buildah("inspect", "--type", "image", image)


def pip_config() -> str:
    """What this machine's pip was told."""
    return subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _grep(word: str, place: Path) -> bool:
    return subprocess.run(["grep", "-rqF", "--", word, str(place)], check=False).returncode == 0


def check_config(image: str) -> None:
    """What an orchestrator reads off the image: a numeric user, an entry point that is no shell, labels, the signal."""
    config = image_config(image)
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["treecast"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def main(image: str) -> None:
    """The whole story. Raises AssertionError where it is not so."""
    check_config(image)
    with PrivateRabbit() as rabbit, roles(image, rabbit.port) as (producer, consumer):
        check_nothing_leaked(image, producer.box.root)
        told(f"{image}: nothing of this machine is in it")
        for as_first in (False, True):
            live(producer, consumer, as_first=as_first)
    told("done")


if __name__ == "__main__":
    main(sys.argv[1])
