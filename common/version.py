"""Does: tells which version of this program is installed."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version


@cache
def program_version() -> str:
    """The installed version; "unknown" in a source tree that was never installed. Read once: each report states it, and what
    runs stays what it is when another version is installed meanwhile."""
    try:
        return version("treecast")
    except PackageNotFoundError:
        return "unknown"
