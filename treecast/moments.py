"""Does: writes moments as a person here reads them: it knows today's date and the zone of this machine."""

import time
from datetime import UTC, datetime, tzinfo


def clock_time(unix: float) -> str:
    """The time of today, else the date too. `unix`: seconds since 1970."""
    then, today = time.localtime(unix), time.localtime()
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def exact_time(unix: float, zone: tzinfo | None = None) -> str:
    """The time in this zone, or where we are: with its offset, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).astimezone(zone).isoformat(timespec="milliseconds")
