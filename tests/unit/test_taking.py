from common.transport.ports import Taken
from common.transport.taking import Taking


def test_what_was_written_is_counted_until_it_was_taken_and_its_time_is_told() -> None:
    taking = Taking()
    last = [taking.last]
    for tag in (1, 3, 4, 7):
        taking.wrote(tag, 100 * tag, now=tag / 10)
    assert taking.bytes == 1500
    taking.taken(3, multiple=False, now=0.5)
    assert taking.bytes == 1200
    last.append(taking.last)
    taking.taken(5, multiple=True, now=0.9)
    assert taking.bytes == 700
    assert [*last, taking.last] == [None, Taken(300, 0.5 - 0.3), Taken(400, 0.9 - 0.4)]


def test_a_tag_that_is_not_known_changes_nothing() -> None:
    taking = Taking()
    taking.wrote(2, 100, now=0.0)
    taking.taken(1, multiple=False, now=1.0)
    taking.taken(1, multiple=True, now=1.0)
    assert (taking.bytes, taking.last) == (100, None)


def test_with_the_channel_all_that_was_written_is_nobodys() -> None:
    taking = Taking()
    taking.wrote(1, 100, now=0.0)
    taking.channel_lost()
    assert taking.bytes == 0
    taking.wrote(1, 50, now=5.0)
    taking.taken(1, multiple=True, now=6.0)
    assert (taking.bytes, taking.last) == (0, Taken(50, 1.0))
