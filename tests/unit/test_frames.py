from common.wire.frame import Closed
from producer.frames import Frames


def closed(size_bytes: int) -> Closed:
    return Closed(bytes(size_bytes), size_bytes, bytes(32), 1)


def test_what_was_not_asked_for_longest_goes_first() -> None:
    frames = Frames(limit_bytes=4 * 1300)
    for key in "abcd":
        frames.put(key, closed(1000))
    assert frames.get("a") is not None
    frames.put("e", closed(1000))
    assert [key for key in "abcde" if frames.get(key) is not None] == ["a", "c", "d", "e"]


def test_what_is_kept_is_bounded_in_bytes_whatever_comes() -> None:
    frames = Frames(limit_bytes=10_000)
    for number in range(100):
        frames.put(number % 7, closed(number * 50))
        assert 0 <= frames.bytes <= 10_000
    frames.put("large", closed(20_000))
    assert frames.get("large") is None
    assert not len(frames)
    assert frames.bytes == 0
