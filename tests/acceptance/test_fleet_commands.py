"""A fleet asked from beside the master, by real processes: who proves its digest now, and scrubs until everyone is done."""

import json
from pathlib import Path

from tests.acceptance.conftest import MakeFleet
from tests.services import Fleet, Service, treecast
from tests.waiting import eventually


def told(service: Service, *words: str, code: int = 0) -> str:
    return treecast(service, *words, code=code)


def write_tree(source: Path) -> None:
    for number in range(50):
        (source / f"file-{number}").write_bytes(b"content of %d " % number)


def word_of(fleet: Fleet, name: str) -> str:
    replicas = fleet.producer.status().get("replicas", {})
    return str(replicas.get(name, {}).get("word"))


def test_everyone_proves_its_digest_and_is_scrubbed_and_who_is_stopped_is_named(
    make_fleet: MakeFleet, fast_place: Path
) -> None:
    """`status --prove` and `scrub --all`, of all and of one; with a replica that is stopped, and of which nobody knows it yet."""
    fleet = make_fleet(f"sqlite:///{fast_place}/queue.db", replicas=("a", "b"))
    write_tree(fleet.source)
    fleet.start()
    fleet.settle()
    eventually(lambda: [word_of(fleet, name) for name in "ab"] == ["equal"] * 2, 20, "both equal")

    proved = told(fleet.producer, "status", "--prove")
    assert proved.startswith("all 2 proved to be equal in ")
    assert proved.count(f"proved {fleet.producer.position.sequence:,} just now") == 2
    one = json.loads(told(fleet.producer, "status", "b", "--prove", "--json"))
    assert {name: found["word"] for name, found in one["replicas"].items()} == {"b": "proved"}

    (fleet.targets[0] / "file-7").write_bytes(b"other of 7 !!")
    (fleet.targets[1] / "added").write_bytes(b"added")
    scrubbed = told(fleet.producer, "scrub", "--all")
    assert scrubbed.startswith("2 of 2 replicas scrubbed: 1")
    assert "found: 1 added, 1 edited; 2 repaired" in scrubbed
    assert (fleet.targets[0] / "file-7").read_bytes() == b"content of 7 "
    fleet.check_equal()

    fleet.consumers["b"].kill()
    silent = told(fleet.producer, "status", "--prove", code=1)
    assert "1 of 2 proved to be equal" in silent
    assert "  b  did not answer within 10 s" in silent
    assert "athens" in told(fleet.producer, "scrub", "athens", code=2), "no replica of this fleet"
