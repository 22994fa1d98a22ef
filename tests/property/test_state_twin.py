"""The replica's state against its twin of plain dicts: whatever happens, both tell the same."""

from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.digests import BUCKETS, content_digest
from common.entries import Entry, Position, directory_entry, file_entry, symlink_entry
from consumer.state import State
from consumer.values import Found, Outcome, Plan, Reason, Stale, Standing, Step, Told, Unmet
from tests.memory_state import MemoryState

PATHS = [b"a", b"b", b"a/x", b"a/y", b"a-b", b"a/x/p", b"\xff\n", b"b/%s"]
SALTS = [bytes(32), b"\x01" * 32]

paths = st.sampled_from(PATHS)
contents = st.sampled_from([b"", b"one", b"two"])
entries = st.one_of(
    st.builds(directory_entry, st.sampled_from([0o755, 0o700])),
    st.builds(lambda body, ns: file_entry(0o644, ns, len(body), content_digest(body)), contents, st.integers(-5, 5)),
    st.builds(lambda body: symlink_entry(len(body), content_digest(body)), contents),
)
positions = st.builds(Position, st.integers(1, 3), st.integers(0, 9))
tolds = st.one_of(
    st.builds(Told, entries, st.none() | positions),
    st.builds(Told, st.none(), st.none() | positions, st.none(), st.booleans()),
)
reasons = st.builds(Unmet, st.sampled_from(list(Reason)), st.sampled_from(["", "why"]))
wants = st.dictionaries(paths, tolds, max_size=4)
unmets = st.dictionaries(paths, reasons, max_size=2)


class TwoStates(RuleBasedStateMachine):
    """The same steps into both."""

    @initialize()
    def start(self) -> None:
        from tempfile import TemporaryDirectory

        self.directory = TemporaryDirectory()
        self.real = State.open(Path(self.directory.name) / "state.db", "tree", "one")
        self.twin = MemoryState()

    def teardown(self) -> None:
        if hasattr(self, "real"):
            self.real.close()
            self.directory.cleanup()

    def buckets_of(self, some: list[bytes]) -> frozenset[int]:
        return frozenset(self.twin.bucket_of(path) for path in some)

    def standing(self, stale: dict[int, Stale], salt: bytes, position: Position) -> Standing:
        commits = self.twin.standing().commits + 1
        return Standing(position.epoch, b"i" * 16, salt, position.sequence, b"h", b"d", stale, position, commits)

    @rule(
        want=wants,
        corrected=st.dictionaries(paths, st.none() | st.builds(directory_entry, st.just(0o755)), max_size=2),
        unmet=unmets,
        failed=unmets,
        marked=st.lists(paths, max_size=3),
        levelled=st.lists(paths, max_size=3),
        salt=st.sampled_from([*SALTS[:1] * 5, SALTS[1]]),
        position=positions,
        forgets=st.booleans(),
        token=st.none() | st.binary(min_size=2, max_size=2),
    )
    def commit(  # noqa: PLR0917  # hypothesis draws each by name
        self,
        want: dict[bytes, Told],
        corrected: dict[bytes, Entry | None],
        unmet: dict[bytes, Unmet],
        failed: dict[bytes, Unmet],
        marked: list[bytes],
        levelled: list[bytes],
        salt: bytes,
        position: Position,
        forgets: bool,
        token: bytes | None,
    ) -> None:
        """Any step at all."""
        corrections = {path: entry for path, entry in corrected.items() if path not in want}
        old = self.twin.standing()
        level = self.buckets_of(levelled) if salt == old.salt else frozenset()
        mark = self.buckets_of(marked) if salt == old.salt else frozenset(range(BUCKETS))
        stale = {b: s for b, s in old.stale.items() if b not in level} | {
            b: Stale(position, None) for b in mark - level
        }
        step = Step(
            self.standing(stale, salt, position),
            want=want,
            marked=mark,
            levelled=level,
            forget_recent=forgets,
            recent=((position.sequence, b"hash %d" % position.sequence),),
        )
        plan, outcome = Plan(corrections=corrections, unmet=unmet), Outcome(unmet=failed)
        ahead = corrections | {path: told.entry for path, told in want.items()}
        if salt == old.salt:
            assert self.real.tree_digest_with(ahead) == self.twin.tree_digest_with(ahead)
        self.real.commit(step, plan, outcome, token=token)
        self.twin.commit(step, plan, outcome, token=token)

    @rule(disk=st.dictionaries(paths, entries, max_size=5), complete=st.booleans())
    def adopt(self, disk: dict[bytes, Entry], complete: bool) -> None:
        """The disk is scanned anew."""
        scan = [Found(path, entry) for path, entry in sorted(disk.items())]
        self.real.adopt(iter(scan), first_copy_complete=complete, token=b"adopted")
        self.twin.adopt(iter(scan), first_copy_complete=complete, token=b"adopted")

    @rule(some=st.sets(paths, max_size=4), disk=st.dictionaries(paths, entries, max_size=5))
    def take_from_disk(self, some: set[bytes], disk: dict[bytes, Entry]) -> None:
        """A plan was left."""
        on_disk = {path: entry for path, entry in disk.items() if path in some}
        old = self.twin.standing()
        marked = dict.fromkeys(self.buckets_of(list(some)), Stale(old.position, None))
        standing = self.standing({**old.stale, **marked}, old.salt, old.position)
        self.real.take_from_disk(some, on_disk, standing, token=b"left")
        self.twin.take_from_disk(some, on_disk, standing, token=b"left")

    @rule()
    def complete(self) -> None:
        """The first copy is complete."""
        self.real.complete_first_copy()
        self.twin.first_copy_complete = True

    @rule()
    def restart(self) -> None:
        """What was committed is there after a restart."""
        self.real.close()
        self.real = State.open(self.real.path, "tree", "one")

    @invariant()
    def tells_the_same(self) -> None:
        """Every answer of the one is the other's."""
        if not hasattr(self, "real"):
            return
        real, twin = self.real, self.twin
        assert real.standing() == twin.standing()
        assert (real.token, real.first_copy_complete) == (twin.token, twin.first_copy_complete)
        assert real.rows(PATHS) == twin.rows(PATHS)
        assert real.tombs(PATHS) == twin.tombs(PATHS)
        assert real.unmet(PATHS) == twin.unmet(PATHS) == real.unmet_paths(100)
        assert real.unmet_paths(1, Reason.BODY) == twin.unmet_paths(1, Reason.BODY)
        assert real.count_unmet() == twin.count_unmet()
        assert real.tree_digest() == twin.tree_digest()
        assert real.filled_buckets() == twin.filled_buckets()
        assert real.counts.entries == len(twin.entries())
        assert real.counts.found == sum(row.found for row in twin.rows(PATHS).values())
        for path in (b"", b"a", b"a/x"):
            assert real.below(path) == twin.below(path)
        bucket = twin.bucket_of(b"a")
        assert real.in_buckets([bucket]) == twin.in_buckets([bucket])
        assert real.rows_of_bucket(bucket) == twin.rows_of_bucket(bucket)
        assert real.bucket_digest(bucket) == twin.bucket_digest(bucket)
        assert [real.recent(i) for i in range(10)] == [twin.recent(i) for i in range(10)]


TestTwoStates = TwoStates.TestCase
TestTwoStates.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
