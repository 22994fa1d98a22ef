"""How a process's status reads for a person."""

import pytest

from treecast.status_page import counted, duration, page, shown_size

STATUS = {
    "role": "consumer",
    "tree": "playlists",
    "replica": "paris",
    "state": "following",
    "position": {"epoch": 7, "sequence": 12_000},
    "agreed": True,
    "dirty": 0,
    "unconfirmed": 0,
    "unmet": {"body": 3},
    "ready": True,
    "problems": [{"path": "a\\x0ab", "problem": "immutable", "since": 1.0}],
    "problem_count": 41,
    "alarms": [{"kind": "diverged", "detail": "syncing", "since": 1.0}],
    "pid": 42,
    "version": "1.2.3",
    "uptime_seconds": 61.5,
    "state_directory": "/state",
}


def test_the_page_says_what_a_person_asks_for() -> None:
    """Who, state, position, agreed, dirty, unconfirmed, alarms and problems, and that there are more of them."""
    text = page(STATUS)
    assert text.splitlines()[0] == "consumer paris of tree playlists: following"
    for fact in ("12,000 of epoch 7", "agreed", "dirty", "unconfirmed", "body 3", "42, version 1.2.3, up 1 min 1 s"):
        assert fact in text
    assert "ALARM diverged: syncing" in text
    assert "problem at a\\x0ab: immutable" in text
    assert "and 40 more problems" in text


def test_a_process_that_has_only_just_started_has_a_page_too() -> None:
    assert "position" in page({"role": "producer", "tree": "t", "state": "starting"})


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (90_000, "1 d 1 h")]
)
def test_a_time_reads_as_a_person_says_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_link_to_the_broker_says_why_it_is_not_open() -> None:
    status = {"role": "producer", "tree": "t", "state": "waiting", "link": {"phase": "held", "detail": "there:42"}}
    assert "broker               held there:42" in page(status)


def test_a_hook_says_whether_it_runs_and_since_when_changes_wait() -> None:
    hook = {"running": False, "pending_seconds": 0.0, "failures": 0, "last": ""}
    assert "hook                 nothing waits" in page({**STATUS, "hook": hook})
    hook = {"running": True, "pending_seconds": 61.2, "failures": 3, "last": "it ended with 1"}
    words = "runs, changes since 1 min 1 s, failed 3 times in a row: it ended with 1"
    assert words in page({**STATUS, "hook": hook})


def test_of_a_producer_it_says_nothing_that_only_a_replica_can_be() -> None:
    assert "agreed" in page(STATUS)
    assert "agreed" not in page({**STATUS, "role": "producer"})


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 more problems"), (1, "1 more problem"), (1200, "1,200 more problems")]
)
def test_one_is_no_plural(count: int, text: str) -> None:
    assert counted(count, "more problem") == text
    assert counted(1, "bucket to compare") == "1 bucket to compare"


def test_a_sync_says_what_is_left_how_fast_it_goes_and_how_long_it_takes() -> None:
    sync = {
        "buckets_left": 1200,
        "contents_left": 0,
        "paths": 4000,
        "size_bytes": 12_345_678,
        "seconds": 9.0,
        "bytes_per_second": 1_500_000.0,
        "seconds_left": 185.0,
    }
    text = page({**STATUS, "sync": sync})
    assert "1,200 buckets to compare, 4,000 paths and 12.3 MB so far, 1.5 MB/s, about 3 min 5 s left" in text
    unknown = {**sync, "contents_left": 7, "bytes_per_second": None, "seconds_left": None}
    assert "1,200 buckets to compare, 7 contents to fetch, 4,000 paths and 12.3 MB so far\n" in page(
        {**STATUS, "sync": unknown}
    )


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_600, "1.0 MB"), (123_456_789, "123 MB")]
)
def test_a_size_reads_as_a_person_says_it(size: float, text: str) -> None:
    assert shown_size(size) == text
