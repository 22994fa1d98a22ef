"""A machine that was copied while it ran: two histories under one epoch, with real processes, and a person's word."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Route
from producer.journal import Journal
from producer.numbering import number
from producer.values import Change
from tests.acceptance.conftest import MakeFleet
from tests.disk import read_tree
from tests.running_consumer import event_of
from tests.services import SENTINEL, Fleet, Service, alarms, stop, treecast
from tests.transports import embedded_url, no_wake, publish_and_confirm
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(300)

FILES = 300
GONE = 40
REAL = 60
"""More changes than the copy makes: then the two histories meet."""


class Copy:
    """The producer's journal as it is at one quiet moment, and what a copy of the machine goes on to publish with it."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.path = fleet.place / "copy.db"
        journal = fleet.producer.state / "journal.db"
        with closing(sqlite3.connect(journal)) as database, closing(sqlite3.connect(self.path)) as copied:
            database.backup(copied)

    def publish_to(self, replica: str) -> None:
        """In its history files went, one changed and one came; a single replica hears of it, and is there now."""
        with closing(Journal(self.path, self._fleet.tree)) as journal:
            gone = [Change(path, journal.entry(path), None) for path in map(os.fsencode, deleted_there())]
            changed = [event_of(b"d/100", b"changed there"), event_of(b"there", b"made there")]
            made = [Change(event.path, journal.entry(event.path), event.entry, event.body) for event in changed]
            numbered = number(journal.stand, [*gone, *made])
            journal.commit(numbered)
        publisher = open_broker(self._fleet.broker, self._fleet.tree).publisher(wake=no_wake, declare=False)
        try:
            publish_and_confirm(publisher, Outgoing(Route.DIRECT, numbered.message, replica, token=1))
        finally:
            publisher.close(1.0)
        consumer = self._fleet.consumers[replica]
        eventually(lambda: consumer.position == numbered.after.position, 30, f"{consumer} follows the copy")

    def restore(self) -> None:
        """The producer, which has ended, has this journal from now on."""
        journal = self._fleet.producer.state / "journal.db"
        for suffix in ("-wal", "-shm"):
            journal.with_name(journal.name + suffix).unlink(missing_ok=True)
        self.path.replace(journal)


def deleted_there() -> list[str]:
    """What went in the copy's history only."""
    return [f"d/{number:03}" for number in range(GONE)]


def inodes(replica: Service, *but: str) -> dict[str, int]:
    """The files on its disk but these: one that went and came back is another file."""
    found = {path: path.stat().st_ino for path in replica.root.rglob("*") if path.is_file()}
    by_name = {str(path.relative_to(replica.root)): inode for path, inode in found.items()}
    return {name: inode for name, inode in by_name.items() if not name.startswith(".treecast") and name not in but}


def test_a_fork_is_refused_alarmed_and_healed_by_a_word_and_a_copied_journal_deletes_nothing(
    make_fleet: MakeFleet, fast_place: Path
) -> None:
    fleet = make_fleet(embedded_url(fast_place / "queue.db"), replicas=("a", "b"))
    (fleet.source / "d").mkdir()
    for n in range(FILES):
        (fleet.source / "d" / f"{n:03}").write_text(f"content {n}")
    fleet.start()
    fleet.settle()
    a = fleet.consumers["a"]
    untouched = inodes(a, SENTINEL, "d/100", "d/299", *deleted_there())
    assert len(untouched) == FILES - GONE - 2
    copy = Copy(fleet)
    copy.publish_to("a")
    check_refused(fleet, a)
    treecast(fleet.producer, "epoch", "start")
    fleet.settle()
    fleet.check_equal()
    assert untouched.items() <= inodes(a).items()
    check_restored(fleet, copy)
    eventually(lambda: not any(alarms(service) for service in fleet.services), 30, "no alarm is left")


def check_refused(fleet: Fleet, a: Service) -> None:
    """The producer sees that a replica is where it never was; that one follows no second history, and deletes nothing for it."""
    eventually(lambda: "fork" in alarms(fleet.producer), 30, "the producer sees it")
    there = read_tree(a.root)
    for n in range(REAL):
        (fleet.source / f"real-{n}").write_text(f"content {n}")
    (fleet.source / "d" / "299").unlink()
    fleet.settle(but="a")
    eventually(lambda: "fork" in alarms(a), 30, "the replica sees it")
    assert not a.is_agreed
    assert read_tree(a.root) == there
    assert "a fork is reported by a" in treecast(fleet.producer, "epoch", "show")


def check_restored(fleet: Fleet, copy: Copy) -> None:
    """With the copy's journal the producer neither deletes what that one never knew, nor sends again what all have."""
    untouched = {replica: inodes(replica, SENTINEL, "d/298") for replica in fleet.consumers.values()}
    stop(fleet.producer)
    copy.restore()
    (fleet.source / "d" / "298").unlink()
    (fleet.source / "later").write_text("while nobody looked")
    # Who starts says where it is at once; a producer hears what was said while none was there.
    stop(fleet.consumers["a"])
    fleet.consumers["a"].start()
    eventually(lambda: fleet.consumers["a"].status().get("link", {}).get("phase") == "open", 30, "a replica speaks")
    fleet.producer.start()
    fleet.settle()
    fleet.check_equal()
    for replica, files in untouched.items():
        found = inodes(replica)
        changed = [name for name, inode in files.items() if found.get(name) != inode]
        assert not changed, replica
    assert "made anew" in fleet.producer.log
