"""What went within ten minutes is counted as the rule says, whenever it is gone through, and however much is written down.

The reference goes through the whole history with lists, path by path; nothing of the product is in it.
"""

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.departures import WINDOW_SECONDS, Departed, Departures
from common.entries import file_entry
from common.holds import HoldLimit, judge

paths = st.sampled_from([b"a", b"b", b"c", b"d"])
contents = st.sampled_from([b"1", b"2", b"3"])
acts = st.one_of(
    st.tuples(st.just("put"), paths, contents),
    st.tuples(st.just("delete"), paths),
    st.tuples(st.just("wait"), st.sampled_from([1.0, WINDOW_SECONDS / 2, WINDOW_SECONDS])),
    st.just(("look",)),
)


@dataclass
class _Plain:
    """Which paths count, worked out at once with each change. `spare`: contents that came and stand in for nothing yet."""

    tree: dict[bytes, bytes]
    came: list[tuple[bytes, bytes, float]] = field(default_factory=list)
    spare: list[bytes] = field(default_factory=list)
    born: dict[bytes, float] = field(default_factory=dict)
    gone: list[tuple[bytes, bytes, float]] = field(default_factory=list)

    def use(self, content: bytes) -> bool:
        if content in self.spare:
            self.spare.remove(content)
            return True
        return False

    def forget_old(self, now: float) -> None:
        since = now - WINDOW_SECONDS
        for row in [row for row in self.came if row[2] <= since]:
            self.came.remove(row)
            self.use(row[1])
        self.gone = [row for row in self.gone if row[2] > since]

    def take_came(self, path: bytes) -> tuple[bytes, bytes, float] | None:
        found = next((row for row in self.came if row[0] == path), None)
        if found is not None:
            self.came.remove(found)
        return found

    def put(self, path: bytes, content: bytes, now: float) -> None:
        self.forget_old(now)
        before = self.tree.get(path)
        self.tree[path] = content
        if before == content:
            return
        own = self.take_came(path)
        if own is not None:
            self.use(own[1])
        else:
            self.born.pop(path, None)
        if before is None:
            self.born[path] = now
        if any(row[0] == path for row in self.gone):
            self.born.pop(path, None)
            is_as_it_was = (path, content) in [row[:2] for row in self.gone]
            self.gone = [row for row in self.gone if row[0] != path]
            if is_as_it_was:
                return
        else:
            moved = [row for row in self.gone if row[1] == content]
            if moved:
                self.gone.remove(moved[-1])
                return
        self.came.append((path, content, now))
        self.spare.append(content)

    def delete(self, path: bytes, now: float) -> None:
        self.forget_old(now)
        content = self.tree.pop(path)
        own = self.take_came(path)
        is_new = own is not None and self.born.get(path, float("-inf")) > now - WINDOW_SECONDS
        came_here = own is not None and self.use(content)
        if is_new and came_here:
            return
        if is_new or not self.use(content):
            self.gone.append((path, content, now))


def _entry(content: bytes | None) -> object:
    return None if content is None else file_entry(0o644, 0, 1, content)


@settings(max_examples=400, deadline=None)
@given(st.lists(acts, max_size=30))
@example([("delete", b"a"), ("look",), ("wait", 300.0), ("put", b"a", b"1"), ("wait", 300.0)])
def test_what_counts_is_what_the_plain_rule_counts(happenings: list[tuple[object, ...]]) -> None:
    tree = {b"a": b"1", b"b": b"2", b"c": b"3"}
    plain = _Plain(dict(tree))
    departures = Departures(entries=len(tree))
    now = 0.0
    for what, *arguments in happenings:
        if what == "wait":
            now += float(arguments[0])  # type: ignore[arg-type]
        elif what == "look":
            departures.settle(now)
        else:
            path = bytes(arguments[0])  # type: ignore[call-overload]
            old, new = plain.tree.get(path), None
            if what == "put":
                new = bytes(arguments[1])  # type: ignore[call-overload]
                plain.put(path, new, now)
            elif old is None:
                continue
            else:
                plain.delete(path, now)
            departures.note([(path, _entry(old), _entry(new))], len(plain.tree), now)  # type: ignore[list-item]
        plain.forget_old(now)
        assert departures.at_most(now) >= len(plain.gone)
    departures.settle(now)
    assert departures.gone == len(plain.gone)
    pending = [Departed(path, content) for path, content in plain.tree.items()]
    for departed in pending:
        plain.delete(departed.path, now)
    assert judge(HoldLimit(0, 0, 0), departures, pending, now).count == len(plain.gone)
