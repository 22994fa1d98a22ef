"""`treecast doctor` as a newcomer meets it: real processes, a real limit, a real queue that refuses; and its lines, pasted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pika
import pytest

from common.transport.amqp_topology import Topology
from tests.acceptance.conftest import MakeFleet
from tests.rabbit import PrivateRabbit, needs_rabbit
from tests.services import ROOT, Fleet, Service, private_environment
from tests.transports import embedded_url
from tests.waiting import eventually, scaled

pytestmark = pytest.mark.timeout(300)

NAMESPACE = ["unshare", "--user", "--map-root-user", "sh", "-c"]
"""A user namespace has limits of its own, which hold for it alone."""
LIMIT = "/proc/sys/user/max_inotify_watches"


def environment(place: Path, **settings: object) -> dict[str, str]:
    told = {f"TREECAST_{name.upper()}": str(value) for name, value in settings.items()}
    return {**private_environment(place), **told}


def doctor(environ: dict[str, str], *words: str, before: list[str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", "doctor", *words]
    if before is not None:
        command = [*before[:-1], f'{before[-1]}; exec "$0" "$@"', *command]
    return subprocess.run(
        command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=scaled(60), check=False
    )


def found(environ: dict[str, str], *words: str) -> dict[str, Any]:
    """The findings by name, of one run with `--json`; of several with one name, the one that is not well."""
    answer = doctor(environ, "--json", *words)
    assert answer.stderr == ""
    told = json.loads(answer.stdout)
    assert told["exit_code"] == answer.returncode
    return {one["name"]: one for one in sorted(told["findings"], key=lambda one: one["severity"] != "ok")}


def of_service(service: Service, fleet: Fleet, replica: str = "") -> dict[str, str]:
    """The settings of a fleet's process, as its environment file would have them."""
    told = {"tree": fleet.tree, "broker": fleet.broker, "state": service.state}
    told |= {"target": service.root, "replica": replica} if replica else {"source": service.root}
    return environment(service.state.parent, **told)


def make_directories(source: Path, count: int) -> None:
    for number in range(count):
        (source / f"d{number}").mkdir(parents=True)


def test_a_machine_with_too_few_watches_says_what_to_paste(tmp_path: Path) -> None:
    """The limit is real: the kernel gives no more. With what the line sets, it is well."""
    if subprocess.run([*NAMESPACE, f"echo 3 > {LIMIT}"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespace can be had here")
    make_directories(tmp_path / "source", 20)
    settings = {"tree": "t", "broker": embedded_url(tmp_path / "queue.db"), "state": tmp_path / "state"}
    environ = environment(tmp_path, source=tmp_path / "source", **settings)
    tight = doctor(environ, before=[*NAMESPACE, f"echo 3 > {LIMIT}"])
    assert tight.returncode == 1, tight
    lines = tight.stdout.splitlines()
    assert lines[0].startswith("producer of the tree t, on ")
    assert any(
        line.startswith("warning  watches") and "is 3, for 21 directories (counted)" in line for line in lines
    ), tight.stdout
    assert max(len(line) for line in lines if not line.startswith("    ")) <= 120
    (todo,) = [line.strip() for line in lines if line.startswith("    sysctl -w user.max_inotify_watches=")]
    raised = todo.removeprefix("sysctl -w ").partition(" && ")[0].partition("=")[2]
    roomy = doctor(environ, "--all", before=[*NAMESPACE, f"echo 3 > {LIMIT}; echo {raised} > {LIMIT}"])
    assert [line.split()[0] for line in roomy.stdout.splitlines() if line[9:].startswith("watches")] == ["ok"]
    assert sorted(os.listdir(tmp_path)) == ["run", "source"]


def test_a_fleet_that_runs_is_looked_at_and_goes_on(make_fleet: MakeFleet, fast_place: Path) -> None:
    """On the embedded queue: each process is found, nothing is an error, and all stay level."""
    with_room = "--queue-limit=1MiB"
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a",), more=(with_room,)).start()
    make_directories(fleet.source, 5)
    fleet.settle()
    for service, replica in ((fleet.producer, ""), (fleet.consumers["a"], "a")):
        told = found(of_service(service, fleet, replica))
        assert f"process {service.pid}, " in told["process"]["found"]
        assert [one for one in told.values() if one["severity"] == "error"] == []
        assert told["queue-holder"]["severity"] == "ok"
    assert "for 6 directories (the journal)" in found(of_service(fleet.producer, fleet))["watches"]["found"]
    fleet.settle()
    assert sorted(os.listdir(fleet.targets[0])) == sorted([".treecast", *os.listdir(fleet.source)])


def test_settings_of_no_role_or_of_both_are_refused(tmp_path: Path) -> None:
    """One line that says how to choose; a setting that is wrong is named as by the service itself."""
    none = doctor(environment(tmp_path, tree="t"))
    assert (none.returncode, none.stderr.count("\n")) == (2, 1)
    assert "TREECAST_SOURCE" in none.stderr
    both = environment(tmp_path, tree="t", source="/a", target="/b", broker=embedded_url(tmp_path / "queue.db"))
    assert "--role" in doctor(both).stderr
    assert doctor(both, "--role", "produce").returncode == 4
    wrong = doctor(environment(tmp_path, tree="t", source="/a", broker="amqp:/"))
    assert (wrong.returncode, "TREECAST_BROKER" in wrong.stderr) == (2, True)


def test_a_broker_that_is_away_ends_with_three(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    environ = environment(tmp_path, tree="t", source=tmp_path / "source", broker="amqp://guest:guest@127.0.0.1:1/")
    answer = doctor(environ)
    assert answer.returncode == 3, answer
    assert "Connection refused" in answer.stdout


@pytest.mark.rabbit
@needs_rabbit[1]
def test_a_queue_that_refuses_is_found_and_cured_while_all_runs(
    make_fleet: MakeFleet, private_rabbit: PrivateRabbit
) -> None:
    """Both the producer's doctor and the consumer's say which line to paste; pasted, the queue is made anew, and all is level."""
    fleet = make_fleet(private_rabbit.url, replicas=("a", "b")).start()
    make_directories(fleet.source, 5)
    fleet.settle()
    queue = Topology(fleet.tree).replica_queue("a")
    spoil(fleet, queue)
    line = f"rabbitmqctl delete_queue -p / {queue}"
    for service, replica in ((fleet.producer, ""), (fleet.consumers["a"], "a")):
        told = found(of_service(service, fleet, replica))
        overflow = told["queue-overflow"]
        assert (overflow["severity"], overflow["todo"]) == ("error", line)
        assert "reject-publish, by its argument x-overflow" in overflow["found"]
    text = doctor(of_service(fleet.producer, fleet))
    assert text.returncode == 4
    assert f"    {line}" in text.stdout.splitlines()
    private_rabbit.paste(line)
    eventually(lambda: found(of_service(fleet.consumers["a"], fleet, "a"))["queue"]["severity"] == "ok", 30)
    assert found(of_service(fleet.consumers["a"], fleet, "a"))["queue-overflow"]["severity"] == "ok"
    fleet.settle()
    fleet.check_equal()


def spoil(fleet: Fleet, queue: str) -> None:
    """As somebody does who may configure, while its replica is away for a moment."""
    fleet.consumers["a"].kill()
    with pika.BlockingConnection(pika.URLParameters(fleet.broker)) as connection:
        channel = connection.channel()
        channel.queue_delete(queue)
        channel.queue_declare(queue, durable=True, arguments={"x-overflow": "reject-publish", "x-max-length": 100_000})
        for exchange, key in Topology(fleet.tree).bindings("a"):
            channel.queue_bind(queue, exchange, key)
    fleet.consumers["a"].start()
    fleet.settle()
