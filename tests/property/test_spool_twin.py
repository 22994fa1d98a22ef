"""The spool and its twin in memory say the same, whatever is asked of them."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.entries import Entry, Event, Kind
from consumer.spool import Spool
from tests.memory_spool import MemorySpool

ENTRIES = st.builds(
    Entry,
    st.sampled_from(Kind),
    st.integers(0, 0o777),
    st.integers(-(1 << 60), 1 << 60),
    st.integers(0, 1 << 40),
    st.binary(max_size=32),
    st.text(max_size=5),
)
EVENTS = st.builds(
    Event, st.binary(min_size=1, max_size=3), st.none() | ENTRIES, st.none() | st.binary(max_size=9), st.booleans()
)
ADDS = st.tuples(st.just("add"), st.integers(1, 2), st.lists(EVENTS, max_size=6))
NO_EVENTS: list[Event] = []
DROPS = st.tuples(st.sampled_from(["drop", "clear"]), st.integers(1, 2), st.just(NO_EVENTS))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(ADDS | DROPS, max_size=8), st.sets(st.integers(0, 3)), st.integers(0, 30))
def test_spool_and_twin_agree(
    tmp_path: Path, acts: list[tuple[str, int, list[Event]]], buckets: set[int], limit: int
) -> None:
    spool, twin = Spool(tmp_path / "since.db"), MemorySpool()
    for act, answer, events in acts:
        rows = [(event.path[0] % 4, event) for event in events]
        if act == "add":
            assert spool.add(answer, rows) == twin.add(answer, rows)
        elif act == "drop":
            spool.drop(answer)
            twin.drop(answer)
        else:
            spool.clear()
            twin.clear()
    for answer in (1, 2):
        assert spool.sizes(answer) == twin.sizes(answer)
        assert spool.rows(answer, buckets, limit) == twin.rows(answer, buckets, limit)
    spool.clear()
    assert not (tmp_path / "since.db").exists()


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "since.db").write_bytes(b"left by another, cut off in the middle")
    spool = Spool(tmp_path / "since.db")
    assert not (tmp_path / "since.db").exists()
    assert spool.add(1, [(0, Event(b"a", None))]) == 1
    spool.clear()
