"""How holds read, and which process a release is meant for."""

from typing import Any

import pytest

from treecast.hold_page import chosen, release_words, summary


def _told(role: str = "producer", held: int = 0, **more: Any) -> dict[str, Any]:
    told = {"role": role, "tree": "music", "replica": "", "held": held, "limit": 5000, "entries": 9}
    return {**told, "state_directory": "/var/lib/a b", **more}


def test_a_hold_is_told_with_the_command_to_type() -> None:
    line = summary(_told(held=60_000), "noon")
    assert line == (
        "producer of tree music: 60,000 deletes are held since noon; the limit is 5,000 within 10 minutes; to let them go: "
        "treecast hold release --state '/var/lib/a b'"
    )
    assert summary(_told("consumer", replica="rome"), "") == "consumer rome of tree music: nothing is held"
    emptied = _told(alarms=[{"kind": "source-empty", "detail": ""}])
    assert "the source is empty" in summary(emptied, "")


@pytest.mark.parametrize(
    ("done", "words"),
    [
        ({"released": 1}, "1 delete goes now"),
        ({"released": 2000}, "2,000 deletes go now"),
        ({"released": 0}, "nothing is held"),
        ({"released": 0, "was_behind": True}, "taken for meant"),
        ({"released": 7, "emptied": True}, "emptied on purpose"),
    ],
)
def test_a_release_says_what_it_did(done: dict[str, Any], words: str) -> None:
    assert words in release_words(done)


def test_the_one_that_holds_is_meant_else_the_producer() -> None:
    producer, rome, oslo = _told(), _told("consumer", replica="rome"), _told("consumer", 3, replica="oslo")
    assert chosen([producer, rome, oslo]) == [2]
    assert chosen([producer, rome]) == [0]
    assert chosen([rome]) == [0]
    assert chosen([_told(held=1), oslo]) == [0, 1]
    assert chosen([rome, rome]) == []
