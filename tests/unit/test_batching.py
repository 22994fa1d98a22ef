from common.entries import file_entry
from producer import batching
from producer.batching import Linger, cut
from producer.values import Change


def _change(path: bytes, size: int) -> Change:
    return Change(path, None, file_entry(0o644, 0, size, bytes(32)), bytes(size))


def test_nothing_makes_no_batch() -> None:
    assert list(cut([])) == []


def test_order_is_kept_and_nothing_is_lost() -> None:
    changes = [_change(b"%d" % n, 3000) for n in range(1000)]
    batches = list(cut(changes))
    assert [change for batch in batches for change in batch] == changes
    assert all(sum(map(batching.raw_bytes, batch)) <= batching.TARGET_BYTES for batch in batches)
    assert len(batches) == 3


def test_a_batch_has_a_limit_of_events() -> None:
    changes = [Change(b"%d" % n, None, None) for n in range(batching.EVENTS_LIMIT + 1)]
    assert [len(batch) for batch in cut(changes)] == [batching.EVENTS_LIMIT, 1]


def test_a_large_body_travels_alone() -> None:
    changes = [_change(b"a", 10), _change(b"large", 5_000_000), _change(b"b", 10), _change(b"c", 10)]
    assert [[change.path for change in batch] for batch in cut(changes)] == [[b"a"], [b"large"], [b"b", b"c"]]


def test_the_first_change_after_silence_leaves_at_once_and_the_next_waits_for_company() -> None:
    linger = Linger()
    assert linger.wait_seconds(0.0, 1) == 0.0
    linger.left(0.0)
    assert linger.wait_seconds(0.0, 1) == batching.LINGER_SECONDS
    assert linger.wait_seconds(batching.LINGER_SECONDS, 1) == 0.0


def test_enough_together_leaves_at_once_by_what_changes_weighed_lately() -> None:
    linger = Linger()
    linger.left(100.0)
    assert linger.wait_seconds(100.0, 2000) == 0.0
    assert linger.wait_seconds(100.0, 20) > 0.0
    for _ in range(20):
        linger.weighed(10, 1_000_000)
    assert linger.wait_seconds(100.0, 20) == 0.0
