"""Decides of what kind a problem is, from the words that a person is told of it. Touches no disk.

The words outlive a process, in a replica's state; a kind is short and stable, and labels a metric.
"""

_KINDS = (
    ("busy", ("changes faster", "busy")),
    ("permission", ("permission denied", "not permitted")),
    ("size", ("the limit is", "too large")),
    ("kind", ("is not carried", "cannot be carried")),
    ("name", ("name too long", "at most", "invalid", "multibyte")),
    ("time", ("time of modification",)),
    ("disk", ("input/output error", "no space", "quota", "read-only")),
)


def kind_of(what: str) -> str:
    """One of the kinds of `common.metrics.PROBLEM_KINDS`; "other" for what is like none."""
    if what.startswith("path-"):
        return "name"
    # Before the last colon there may stand a path, which says nothing.
    words = what.rpartition(": ")[2].lower()
    return next((kind for kind, phrases in _KINDS if any(phrase in words for phrase in phrases)), "other")
