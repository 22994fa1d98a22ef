import random
import time

from common.names import is_below
from producer.pathset import PathSet


def test_it_is_a_set_in_order_whatever_comes_and_goes() -> None:
    rng = random.Random(3)
    paths, plain = PathSet(), dict[bytes, None]()
    for _ in range(3000):
        path = b"/".join(rng.choice((b"a", b"b", b"a-b")) for _ in range(rng.randrange(1, 5)))
        if rng.random() < 0.5:
            paths.add(path)
            plain.setdefault(path)
        else:
            paths.discard(path)
            plain.pop(path, None)
        directory = path.rpartition(b"/")[0]
        assert paths.below(directory) == [one for one in plain if is_below(one, directory)]
        assert (list(paths), len(paths), path in paths) == (list(plain), len(plain), path in plain)


def test_what_has_nothing_below_it_is_told_in_no_time() -> None:
    paths = PathSet()
    for number in range(100_000):
        paths.add(b"unreadable/%d" % number)
    began = time.process_time()
    for number in range(10_000):
        assert not paths.below(b"temporary-%d" % number)
    assert time.process_time() - began < 1
