"""Decides what a file's times tell of its content: whether it is old enough to be read, and to show a change. Knows no file.

All times are nanoseconds since 1970.
"""

FRESH_NS = 20_000_000
"""A content younger than this may change again without a change of its times."""
FRESH_COARSE_NS = 2_000_000_000
"""The same where times are whole seconds."""
AHEAD_NS = 60_000_000_000
"""A file server's clock may run ahead of ours by so much; a time further in the future tells nothing."""


def unsettled_ns(mtime_ns: int, ctime_ns: int, settle_ns: int, now_ns: int) -> int:
    """How long until both times are `settle_ns` old. A time in the future waits for nothing."""
    ages = (now_ns - mtime_ns, now_ns - ctime_ns)
    return max((settle_ns - age for age in ages if age >= 0), default=0)


def fresh_ns(mtime_ns: int, ctime_ns: int, now_ns: int) -> int:
    """How long the content may still change without a change of its times; 0 when it no longer can. ctime is the system's own."""
    is_coarse = ctime_ns % 1_000_000_000 == 0 and mtime_ns % 1_000_000_000 == 0
    age_ns = now_ns - ctime_ns
    return max(0, (FRESH_COARSE_NS if is_coarse else FRESH_NS) - age_ns) if age_ns >= -AHEAD_NS else 0
