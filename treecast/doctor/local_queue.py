"""Decides whether the embedded queue's file serves. Values in, findings out; opens no file."""

from dataclasses import dataclass

from treecast.doctor.findings import Finding, error, note, quoted, warning, well


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a queue's lock: `is_held`, and by whom, as far as they said."""

    is_held: bool
    name: str = ""


def judge_file(path: str, kind: str, refusal: str, *, is_network: bool) -> Finding:
    """The database file, or where it will be made. `refusal`: why it cannot be used, "" when it can."""
    if refusal:
        needed = "a file, or a place for one, that this user may read and write"
        return error("broker", f"{path}: {refusal}", needed, f"ls -ld {quoted(path)} {quoted(_above(path))}")
    if is_network:
        return error(
            "broker", f"{path} is on {kind}, where locks cannot be trusted", "a disk of this machine; or RabbitMQ"
        )
    return well("broker", f"the embedded queue {path}, on {kind or 'a disk that is not told'}")


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def judge_holder(queue: str, holder: Holder, *, runs_here: bool) -> Finding:
    """A queue has one consumer. `runs_here`: our own process answers, and so is the one."""
    if holder.is_held and not runs_here:
        found = f"{queue} is held by {holder.name or 'another process'}, and nobody answers in this state directory"
        return warning("queue-holder", found, "one process for each queue", "treecast status")
    return well("queue-holder", f"{queue} is {'held by ' + (holder.name or 'a process') if holder.is_held else 'free'}")


def judge_consumers(queue: str, consumers: int, messages: int, *, runs_here: bool) -> Finding:
    """The same on RabbitMQ, which counts."""
    found = f"{queue} is there, with {messages:,} messages and {consumers} consumers"
    if consumers and not runs_here:
        needed = "one process for each replica name; or, to ask the one that runs, --state and its directory"
        return warning("queue", f"{found}, and nobody answers in this state directory", needed, "treecast status")
    return well("queue", found)


def judge_no_queue(queue: str, *, is_producer: bool) -> Finding:
    """It is not there. The producer makes its own at its start, a replica's when that one is heard of."""
    when = "when it starts" if is_producer else "when it runs and hears of this replica: start the consumer"
    return note("queue", f"{queue} is not there yet; the producer makes it {when}")
