"""What a start finds, as a table."""

import pytest

from consumer.stagefiles import (
    Age,
    Mark,
    decode_age,
    decode_mark,
    decode_plan,
    encode_age,
    encode_mark,
    encode_plan,
)
from consumer.starting import DiskSeen, Start, StateSeen, decide_start
from consumer.values import LeftPlan

OURS = Mark("m1", "tree", "one")
OTHERS = Mark("m2", "tree", "two")
OTHER_TREE = Mark("m1", "shop", "one")
AT_7, AT_8, OTHER_7 = Age(7, b"seven"), Age(8, b"eight"), Age(7, b"another")
FRESH = StateSeen("tree", "", Age(0, b""))
KNOWS = StateSeen("tree", "m1", AT_7)
RELEASED = StateSeen("tree", "", AT_7, is_released=True)
FILES = DiskSeen(is_empty=False)


def left(number: int) -> LeftPlan:
    return LeftPlan(number, frozenset({b"a"}))


@pytest.mark.parametrize(
    ("disk", "state", "adopt", "start"),
    [
        pytest.param(DiskSeen(), FRESH, False, Start.FILL, id="an empty target is simply taken"),
        pytest.param(DiskSeen(), FRESH, True, Start.FILL, id="adopt changes nothing for an empty target"),
        pytest.param(FILES, FRESH, False, Start.NEEDS_ADOPTION, id="files without a mark are refused"),
        pytest.param(FILES, FRESH, True, Start.ADOPT, id="adopt is the answer to that refusal"),
        pytest.param(FILES, KNOWS, False, Start.MARK_MISSING, id="the mark is gone: not mounted"),
        pytest.param(DiskSeen(), KNOWS, False, Start.MARK_MISSING, id="an empty mount point is not taken"),
        pytest.param(
            DiskSeen(), KNOWS, True, Start.MARK_MISSING, id="nor with adopt, which may stand in the settings for ever"
        ),
        pytest.param(FILES, RELEASED, False, Start.ADOPT, id="released: it is taken again without being told"),
        pytest.param(DiskSeen(), RELEASED, False, Start.ADOPT, id="released and emptied: scanned, found empty"),
        pytest.param(DiskSeen(OURS, AT_7), FRESH, False, Start.SCAN, id="the state is lost: scanned"),
        pytest.param(DiskSeen(OURS, None), FRESH, False, Start.SCAN, id="killed while it was taken: scanned"),
        pytest.param(DiskSeen(OURS, AT_7), RELEASED, False, Start.SCAN, id="killed while it was taken again: scanned"),
        pytest.param(DiskSeen(OTHER_TREE, AT_7), FRESH, False, Start.OTHER_MARK, id="another tree's target"),
        pytest.param(DiskSeen(OTHER_TREE, AT_7), FRESH, True, Start.OTHER_MARK, id="adopt acts only where no mark is"),
        pytest.param(DiskSeen(OTHERS, AT_7), KNOWS, False, Start.OTHER_MARK, id="another target of the same tree"),
        pytest.param(DiskSeen(OURS, AT_7), KNOWS, False, Start.CONTINUE, id="same age"),
        pytest.param(DiskSeen(OURS, AT_7), KNOWS, True, Start.CONTINUE, id="adopt does nothing to what is ours"),
        pytest.param(DiskSeen(OURS, AT_8), KNOWS, False, Start.SCAN, id="the state was restored"),
        pytest.param(DiskSeen(OURS, Age(6, b"six")), KNOWS, False, Start.SCAN, id="the disk was restored"),
        pytest.param(DiskSeen(OURS, OTHER_7), KNOWS, False, Start.SCAN, id="same number of another history"),
        pytest.param(DiskSeen(OURS, None), KNOWS, False, Start.SCAN, id="the position is gone"),
        pytest.param(DiskSeen(OURS, AT_7, left(7)), KNOWS, False, Start.CONTINUE, id="a finished plan"),
        pytest.param(DiskSeen(OURS, AT_7, left(8)), KNOWS, False, Start.RESOLVE, id="killed before or in the swap"),
        pytest.param(DiskSeen(OURS, AT_8, left(8)), KNOWS, False, Start.RESOLVE, id="killed between swap and commit"),
        pytest.param(DiskSeen(OURS, AT_8, left(9)), KNOWS, False, Start.SCAN, id="the state is older than the plan"),
        pytest.param(DiskSeen(OURS, OTHER_7, left(8)), KNOWS, False, Start.SCAN, id="a plan of another history"),
        pytest.param(
            DiskSeen(OURS, Age(6, b"six"), left(7)), KNOWS, False, Start.SCAN, id="the disk lacks what was committed"
        ),
    ],
)
def test_start(disk: DiskSeen, state: StateSeen, adopt: bool, start: Start) -> None:
    assert decide_start(disk, state, adopt=adopt) is start


def test_a_refusal_writes_no_mark_and_scans_nothing() -> None:
    for start in Start:
        assert not (start.is_refusal and (start.makes_mark or start.scans))


def test_the_small_files_come_back_as_they_were_written() -> None:
    plan = LeftPlan(12, frozenset({b"a", b"b/\n\xff"}))
    assert decode_mark(encode_mark(OURS)) == OURS
    assert decode_age(encode_age(AT_7)) == AT_7
    assert decode_plan(encode_plan(plan.number, plan.paths)) == plan
    assert decode_plan(encode_plan(3, [])) == LeftPlan(3, frozenset())


@pytest.mark.parametrize("flip", range(30))
def test_a_torn_plan_or_position_counts_as_not_there(flip: int) -> None:
    """A checksum that does not hold means that the file was never durable, so nothing was swapped for it."""
    for content, decode in ((encode_plan(12, [b"abc"]), decode_plan), (encode_age(AT_7), decode_age)):
        torn = bytearray(content)
        torn[flip] ^= 1
        assert decode(bytes(torn)) is None
        assert decode(content[:flip]) is None


def test_a_mark_that_cannot_be_read_is_nobodys_that_we_know() -> None:
    for text in (b"", b"\xff\xfe", b"treecast mark 1\n\n\n\n", b"treecast mark 2\na\nb\nc\n"):
        assert decode_mark(text).tree == ""
