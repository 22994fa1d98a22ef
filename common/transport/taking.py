"""Decides what of the best-effort messages the broker has not taken yet, and how long it takes. Knows tags, sizes and times.

A *tag* is the channel's number for one publish; tags rise within a channel. Times are seconds of any one clock.
"""

from itertools import takewhile

from common.transport.ports import Taken


class Taking:
    """What was written without a token, until the broker says that it has it."""

    def __init__(self) -> None:
        self._written: dict[int, tuple[int, float]] = {}  # by tag, rising: size in bytes, and when
        self.bytes = 0
        """Written, and not taken yet."""
        self.last: Taken | None = None
        """The one that the broker took last; None: it took none yet."""

    def wrote(self, tag: int, size_bytes: int, now: float) -> None:
        """Published, as the channel's publish `tag`."""
        self._written[tag] = (size_bytes, now)
        self.bytes += size_bytes

    def taken(self, tag: int, multiple: bool, now: float) -> None:
        """The broker has taken or refused this publish, or all up to it. Of what is not known, nothing comes."""
        tags = list(takewhile(lambda known: known <= tag, self._written)) if multiple else [tag]
        for known in tags:
            size_bytes, at = self._written.pop(known, (0, now))
            if size_bytes:
                self.bytes -= size_bytes
                self.last = Taken(size_bytes, now - at)

    def channel_lost(self) -> None:
        """Tags mean nothing any more, and what was written is nobody's. Idempotent."""
        self._written.clear()
        self.bytes = 0
