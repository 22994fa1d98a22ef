"""The command line as a person meets it: real processes, exit codes, one line for each refusal."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.waiting import eventually, scaled

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX only")

TREE = f"cli-{os.getpid()}"
"""Its own in each worker: other tests' processes may run on this machine, and a search for any tree would find them."""
SERVICE = """
import sys, time
from common.process import run_produce
def load():
    def run(settings, stop, board, orders):
        board.tell(state="leading", position={"epoch": 7, "sequence": 17}, agreed=True)
        board.is_ready = True
        if "--broken" in sys.argv: raise RuntimeError("bug")
        stop.wait()
        if "--slow" in sys.argv: time.sleep(60)
    return run
sys.exit(run_produce([one for one in sys.argv[1:] if one not in ("--slow", "--broken")], load, "treecast produce"))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Nothing of ours is set, and home and run directory are the test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TREECAST_", "XDG_", "STATE_"))}
    (tmp_path / "run").mkdir()
    return {**kept, "HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run"), "NO_COLOR": "1"}


def treecast(environ: dict[str, str], *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "treecast", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=False,
        env=environ,
        errors="surrogateescape",
    )


def refusal(environ: dict[str, str], code: int, *words: str | Path) -> str:
    """The one line that a command ends with."""
    answer = treecast(environ, *words)
    assert answer.returncode == code, answer
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    assert lines[0].startswith("treecast: ")
    return lines[0]


def of_tree(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "TREECAST_TREE": TREE}


def make(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (root / name).write_text(name)
        os.utime(root / name, (0, 1_700_000_000))
    return root


def free_port() -> int:
    """One below the ports that the system gives out by itself; parallel workers begin at different ones."""
    for port in range(21_000 + os.getpid() % 5000, 32_000):
        with closing(socket.socket()) as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def test_version(environ: dict[str, str]) -> None:
    assert treecast(environ, "--version").stdout == f"treecast {version('treecast')}\n"


def test_wrong_usage_is_one_line_and_two(environ: dict[str, str], tmp_path: Path) -> None:
    """Whoever finds it, the command line's library or we ourselves."""
    assert "--help" in refusal(environ, 2, "vrify")
    assert "--help" in refusal(environ, 2, "verify", tmp_path)
    assert "--help" in refusal(environ, 2, "verify", "--bogus", tmp_path, tmp_path)
    assert "nearest is --source" in refusal(environ, 2, "produce", "--sourc", "/x")
    assert refusal(environ, 2, "produce", "--tree", "A").startswith("treecast: --tree: found 'A', allowed: ")
    assert refusal(environ, 2, "consume").startswith("treecast: TREECAST_TREE or --tree: found nothing")


def test_a_missing_root_is_refused_before_anything_is_made(environ: dict[str, str], tmp_path: Path) -> None:
    common: list[str | Path] = ["--tree", "t", "--broker", f"sqlite:///{tmp_path}/q.db", "--state", tmp_path / "state"]
    assert "--source: " in refusal(environ, 2, "produce", *common, "--source", tmp_path / "none")
    assert "--target: " in refusal(environ, 2, "consume", *common, "--target", tmp_path / "none")
    assert not (tmp_path / "state").exists()


def test_state_or_queue_inside_the_tree_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    source = make(tmp_path / "source")
    words: list[str | Path] = ["produce", "--tree", "t", "--source", source]
    inside = [*words, "--broker", f"sqlite:///{tmp_path}/q.db", "--state", source / "state"]
    assert refusal(environ, 2, *inside).startswith("treecast: --state: ")
    queue = [*words, "--broker", f"sqlite:///{source}/q.db", "--state", tmp_path / "state"]
    assert refusal(environ, 2, *queue).startswith("treecast: --broker: ")


def test_settings_tell_each_value_and_its_origin(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "treecast.toml"
    file.write_text('tree = "t"\nbroker = "amqp://user:geheim@mq/"\n[produce]\nsource = "/srv"\n')
    environ = {**environ, "TREECAST_LOG_LEVEL": "debug", "TREECAST_PORT": "tcp://10.0.0.1"}
    answer = treecast(environ, "settings", "produce", "--config", file)
    assert answer.returncode == 0, answer.stderr
    assert "geheim" not in answer.stdout + answer.stderr
    lines = {line.split()[0]: line for line in answer.stdout.splitlines() if line.startswith("  --")}
    assert lines["--source"].endswith(f"file {file}: [produce] source")
    assert lines["--log-level"].endswith("environment TREECAST_LOG_LEVEL")
    assert "user:***@mq" in lines["--broker"]
    assert "TREECAST_PORT" in answer.stderr
    assert refusal(environ | {"TREECAST_PORT": ""}, 2, "settings", "consume", "--config", tmp_path / "none")


def test_settings_of_a_bare_machine_say_what_must_be_given(environ: dict[str, str]) -> None:
    answer = treecast(environ, "settings")
    assert answer.returncode == 0
    assert answer.stdout.count("(must be given)") == 6
    assert treecast(environ, "settings", "produce").returncode == 2


def test_verify_ends_with_zero_where_trees_are_equal(environ: dict[str, str], tmp_path: Path) -> None:
    source, one, two = (make(tmp_path / name) for name in ("source", "one", "two"))
    answer = treecast(environ, "verify", source, one, two)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [line.partition(" (")[0] for line in answer.stdout.splitlines()] == [f"{one}: equal", f"{two}: equal"]


def test_verify_lists_what_differs_and_ends_with_one(environ: dict[str, str], tmp_path: Path) -> None:
    source, one, two = (make(tmp_path / name) for name in ("source", "one", "two"))
    (two / "a").chmod(0o600)
    (two / "new\nline").touch()
    answer = treecast(environ, "verify", source, one, two)
    assert answer.returncode == 1
    assert f"{two}: new\\x0aline: extra file" in answer.stdout.splitlines()
    assert f"{two}: a: mode 0644, in the replica 0600" in answer.stdout.splitlines()
    assert treecast(environ, "verify", source, two, "--exclude", "/a", "--exclude", "new*").returncode == 0


def test_verify_speaks_json(environ: dict[str, str], tmp_path: Path) -> None:
    source, one = make(tmp_path / "source"), make(tmp_path / "one")
    (one / "a").unlink()
    answer = treecast(environ, "verify", "--json", source, one)
    found = json.loads(answer.stdout)
    assert (answer.returncode, found["equal"]) == (1, False)
    assert found["replicas"][0]["differences"] == [{"path": "a", "what": ["missing"], "detail": "missing file"}]


def test_verify_of_what_is_not_there_is_wrong_usage(environ: dict[str, str], tmp_path: Path) -> None:
    assert refusal(environ, 2, "verify", tmp_path / "none", tmp_path).startswith("treecast: SOURCE: ")
    assert refusal(environ, 2, "verify", tmp_path, tmp_path / "none").startswith("treecast: REPLICA: ")


def test_a_reader_that_goes_away_is_no_error_to_shout_about(environ: dict[str, str], tmp_path: Path) -> None:
    source, one = make(tmp_path / "source"), make(tmp_path / "one")
    for number in range(3000):
        (one / f"a-rather-long-name-to-fill-the-pipe-{number}").touch()
    command = f"{sys.executable} -m treecast verify {source} {one} | head -1"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=30, check=False, env=environ)
    assert answer.stderr == ""


def test_status_without_a_process_is_out_of_reach(environ: dict[str, str], tmp_path: Path) -> None:
    line = refusal(environ, 3, "status", "--state", tmp_path)
    assert "treecast produce" in line


class Running:
    """A service process of its own, with a stub for a service in it."""

    def __init__(self, environ: dict[str, str], root: Path, *words: str) -> None:
        self.port, self.state = free_port(), root / "state"
        source = make(root / "source")
        options = ["--tree", TREE, "--broker", f"sqlite:///{root}/q.db", "--source", source, "--state", self.state]
        command = [sys.executable, "-c", SERVICE, *map(str, options), "--listen", f"127.0.0.1:{self.port}", *words]
        self.process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def end(self, *signals: int) -> tuple[int, str]:
        """Exit code and what was logged."""
        for one in signals:
            self.process.send_signal(one)
        _, logged = self.process.communicate(timeout=scaled(10))
        return self.process.returncode, logged


@pytest.fixture
def started() -> Iterator[list[Running]]:
    processes: list[Running] = []
    yield processes
    for one in processes:
        one.process.kill()
        one.process.wait()
        if one.process.stderr is not None:
            one.process.stderr.close()


def start(started: list[Running], environ: dict[str, str], root: Path, *words: str) -> Running:
    started.append(Running(environ, root, *words))
    eventually(started[-1].answers, 10, "the listener answers")
    return started[-1]


def test_a_service_is_asked_and_stopped(environ: dict[str, str], tmp_path: Path, started: list[Running]) -> None:
    """status finds the one that runs here; SIGTERM ends it with 0, and nothing is left in its way."""
    service = start(started, environ, tmp_path)
    text = treecast(of_tree(environ), "status").stdout
    assert text.startswith(f"producer of tree {TREE}: leading\n")
    assert "17 of epoch 7" in text
    found = json.loads(treecast(environ, "status", "--json", "--state", service.state).stdout)
    assert {"role", "state", "position", "agreed", "dirty", "unconfirmed", "problems", "alarms"} <= found.keys()
    assert found["pid"] == service.process.pid
    assert service.end(signal.SIGTERM)[0] == 0
    assert not (service.state / "control.sock").exists()
    assert "treecast status --state" in refusal(of_tree(environ), 3, "status")


def test_status_shows_all_that_run_here(environ: dict[str, str], tmp_path: Path, started: list[Running]) -> None:
    """A mirror is several processes, and "see it with: treecast status" must show them; a program gets one at a time."""
    one, two = (start(started, environ, tmp_path / name) for name in ("one", "two"))
    answer = treecast(of_tree(environ), "status")
    assert answer.returncode == 0, answer.stderr
    assert [str(service.state) in answer.stdout for service in (one, two)] == [True, True]
    assert answer.stdout.count(f"producer of tree {TREE}: leading") == 2
    assert f"one of {one.state}" in refusal(of_tree(environ), 2, "status", "--json")


def test_a_second_service_with_the_same_state_is_turned_away(
    environ: dict[str, str], tmp_path: Path, started: list[Running]
) -> None:
    """It exits with 4, says how to see the other one, and leaves it alone."""
    first = start(started, environ, tmp_path)
    words: list[str | Path] = ["--tree", "t", "--broker", f"sqlite:///{tmp_path}/q.db", "--source", tmp_path / "source"]
    line = refusal(environ, 4, "produce", *words, "--state", first.state)
    assert "treecast status --state" in line
    assert treecast(of_tree(environ), "status").returncode == 0


def test_ctrl_c_ends_with_130(environ: dict[str, str], tmp_path: Path, started: list[Running]) -> None:
    assert start(started, environ, tmp_path).end(signal.SIGINT)[0] == 130


def test_a_second_signal_does_not_wait(environ: dict[str, str], tmp_path: Path, started: list[Running]) -> None:
    """A service that is stuck while it stops can still be ended from the keyboard."""
    service = start(started, environ, tmp_path, "--slow")
    service.process.send_signal(signal.SIGINT)
    assert service.process.stderr is not None
    assert "SIGINT: stopping" in service.process.stderr.readline()
    assert service.end(signal.SIGINT)[0] == 130


def test_a_killed_service_leaves_nothing_in_the_way_of_the_next(
    environ: dict[str, str], tmp_path: Path, started: list[Running]
) -> None:
    start(started, environ, tmp_path).end(signal.SIGKILL)
    assert refusal(of_tree(environ), 3, "status")
    (tmp_path / "again").mkdir()
    (tmp_path / "state").rename(tmp_path / "again/state")
    service = start(started, environ, tmp_path / "again")
    assert treecast(environ, "status", "--state", service.state).returncode == 0


def test_a_bug_in_a_service_is_one_line_and_one(
    environ: dict[str, str], tmp_path: Path, started: list[Running]
) -> None:
    started.append(Running(environ, tmp_path, "--broken"))
    code, logged = started[-1].end()
    assert code == 1
    assert logged.splitlines()[-1].startswith("treecast: unexpected RuntimeError: bug (")
    assert "Traceback" not in logged


@pytest.mark.parametrize("package", ["producer", "consumer"])
def test_the_packages_are_doors_of_their_own(environ: dict[str, str], package: str) -> None:
    """`python -m producer` needs no command line around it."""
    command = [sys.executable, "-m", package, "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environ)
    assert answer.returncode == 0
    assert f"usage: python -m {package}" in answer.stdout
    assert "TREECAST_TREE" in answer.stdout
