"""`treecast trace`: what became of one path, when, and who has it; beside the master, over HTTP, and of a journal alone."""

import json
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet, private_environment, stop
from tests.waiting import eventually, scaled

pytestmark = pytest.mark.timeout(300)

ODD = "odd %n\n\udcff ünü?&n=3#"
"""A name with what a URL and a terminal would trip over, no UTF-8 among it."""


def treecast(fleet: Fleet, *words: str, code: int = 0) -> str:
    """What a command prints, run without any place of the fleet's own: only what it is told."""
    command = [sys.executable, "-m", "treecast", *words]
    environment = private_environment(fleet.place / "nobody")
    done = subprocess.run(command, capture_output=True, timeout=scaled(60), check=False, env=environment)
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).decode()


def traced(fleet: Fleet, path: str, *words: str) -> dict[str, Any]:
    """By the control socket, and the same by the listener, but for what a report has changed meanwhile."""
    here, there = (
        json.loads(treecast(fleet, "trace", path, "--json", place, *words))
        for place in (f"--state={fleet.producer.state}", f"--url={fleet.producer.url}")
    )
    assert lasting(here) == lasting(there)
    return dict(there)


def lasting(found: dict[str, Any]) -> dict[str, Any]:
    changes = [{key: one[key] for key in one.keys() - {"has", "lacks"}} for one in found["changes"]]
    return {**found, "changes": changes, "now": {**found["now"], "scanning": False}}


def whats(found: dict[str, Any]) -> list[str]:
    return [change["what"] for change in found["changes"]]


def replace_with(path: Path, text: str) -> None:
    """At once: what is written in place may be seen when it is still empty. `*.tmp` is excluded."""
    path.with_name("new.tmp").write_text(text)
    path.with_name("new.tmp").rename(path)


def test_a_path_is_followed_through_its_life_and_beyond(make_fleet: MakeFleet, fast_place: Path) -> None:
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a", "b"), more=())
    (fleet.source / "d").mkdir()
    fleet.producer.start("--exclude=*.tmp")
    for consumer in fleet.consumers.values():
        consumer.start()
    fleet.settle()
    path = fleet.source / "d" / ODD
    replace_with(path, "one")
    fleet.settle()
    replace_with(path, "three")
    fleet.settle()
    stop(fleet.consumers["b"])
    path.unlink()
    fleet.settle(but="b")

    eventually(lambda: traced(fleet, f"d/{ODD}")["changes"][-1]["has"] == ["a"], 20, "a has dropped it")
    found = traced(fleet, f"d/{ODD}")
    made, changed, gone = found["changes"]
    assert whats(found) == ["create", "modify", "delete"]
    assert [(one["old_size"], one["size"]) for one in found["changes"]] == [(0, 3), (3, 5), (5, 0)]
    assert made["seen"] <= made["numbered"] <= made["published"] <= made["confirmed"] < changed["confirmed"]
    assert made["numbered"] - made["seen"] < scaled(5)
    assert (changed["has"], changed["lacks"]) == (["a", "b"], {})
    assert (gone["has"], list(gone["lacks"])) == (["a"], ["b"])
    assert found["now"]["entry"] is None
    assert whats(traced(fleet, str(path), "-n", "1")) == ["delete"]

    text = treecast(fleet, "trace", str(path), f"--state={fleet.producer.state}").splitlines()
    assert text[0] == "d/odd %n\\x0a\\xff ünü?&n=3#: not published: absent on replicas"
    assert text[-2:] == ["  dropped by 1 of 2", "  not b: behind"]

    (fleet.source / "d/no.tmp").write_text("x")
    excluded = traced(fleet, "d/no.tmp")
    assert (whats(excluded), excluded["now"]["excluded"]) == ([], "*.tmp")
    assert traced(fleet, "sentinel")["now"]["entry"]["kind"] == "file"

    # After a restart the times of what was before are not remembered; without a producer its journal tells.
    fleet.producer.kill()
    alone = json.loads(treecast(fleet, "trace", f"d/{ODD}", "--json", f"--state={fleet.producer.state}"))
    assert (whats(alone), alone["is_running"], alone["now"]) == (whats(found), False, {"entry": None})
    assert "no producer runs" in treecast(fleet, "trace", f"d/{ODD}", f"--state={fleet.producer.state}")
    fleet.producer.start("--exclude=*.tmp")
    fleet.settle(but="b")
    again = traced(fleet, f"d/{ODD}")
    assert [one["is_remembered"] for one in again["changes"]] == [False] * 3
    assert "a" in again["changes"][-1]["has"]


def test_what_is_wrong_to_ask_is_said(make_fleet: MakeFleet, fast_place: Path) -> None:
    """With exit code 2, by the socket and over HTTP; nobody there is 3; a consumer does not tell."""
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a",)).start()
    fleet.settle()
    for place in (f"--state={fleet.producer.state}", f"--url={fleet.producer.url}"):
        assert treecast(fleet, "trace", "../x", place, code=2).startswith("treecast: PATH: found '../x'")
    for wrong in ("/etc/passwd", "a//../", ".treecast", "/", "x&n=0", "x&n=1001"):
        assert fleet.producer.page(f"/trace?path={wrong}")[0] == 400
    assert fleet.producer.page("/trace")[0] == 400
    assert fleet.producer.page(f"/trace?path={'x' * 9000}")[0] == 400
    assert fleet.producer.page(f"/trace?path=x&n={'9' * 5000}")[0] == 200
    assert fleet.producer.page("/trace?path=" + urllib.parse.quote("nobody/knows"))[0] == 200
    assert fleet.consumers["a"].page("/trace?path=x")[0] == 404
    treecast(fleet, "trace", "x", f"--url={fleet.consumers['a'].url}", code=3)
    fleet.producer.kill()
    treecast(fleet, "trace", "x", f"--url={fleet.producer.url}", code=3)
    treecast(fleet, "trace", "x", f"--state={fleet.place}/nowhere", code=2)


def test_what_stands_in_the_way_of_a_path_is_named(make_fleet: MakeFleet, fast_place: Path) -> None:
    """A file that is too large is a problem; deletes that are too many are held; one that is being written waits."""
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a",))
    for number in range(20):
        (fleet.source / f"f{number}").write_text("x")
    fleet.producer.start("--large-limit=2MiB", "--hold=5,10%,50%")
    fleet.consumers["a"].start()
    fleet.settle()
    with (fleet.source / "large").open("wb") as large:
        large.truncate(3 << 20)
    for number in range(20):
        (fleet.source / f"f{number}").unlink()
    eventually(lambda: traced(fleet, "f19")["now"]["held"] == "held", 20, "held")
    found = eventually(lambda: traced(fleet, "large")["now"]["problem"], 20, "a problem")
    assert "limit" in found
    assert traced(fleet, "f19")["now"]["entry"]["kind"] == "file"
