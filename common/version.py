"""Does: tells which version of this program is installed."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The installed version; "unknown" in a source tree that was never installed."""
    try:
        return version("treecast")
    except PackageNotFoundError:
        return "unknown"
