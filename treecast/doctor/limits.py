"""Decides whether this kernel's limits are enough for a tree. Values in, findings out; reads no /proc."""

from dataclasses import dataclass

from treecast.doctor.findings import Finding, note, warning, well

WATCHES = "fs.inotify.max_user_watches"
INSTANCES = "fs.inotify.max_user_instances"
EVENTS = "fs.inotify.max_queued_events"

WATCHES_HERE, INSTANCES_HERE = "user.max_inotify_watches", "user.max_inotify_instances"
"""The same for this user namespace, as a container may have; the lower of the two applies."""

WATCHES_ADVISED = 524_288
"""At about 1 KiB of kernel memory for each that is used."""
WATCHES_SPARE = 1.25
"""Other programs of the same user have watches too, and trees grow."""
INSTANCES_ADVISED = 1024
EVENTS_LEAST = 16_384
"""What kernels come with."""
EVENTS_ADVISED = 262_144
DESCRIPTORS_LEAST = 1024
DESCRIPTORS_ADVISED = 65_536


@dataclass(frozen=True, slots=True)
class TreeSize:
    """How many directories a tree has. `is_whole` False: the count was given up there. `origin`: who counted."""

    directories: int
    is_whole: bool
    origin: str

    def __str__(self) -> str:
        what = "directory" if self.directories == 1 else "directories"
        return f"{'' if self.is_whole else 'over '}{self.directories:,} {what} ({self.origin})"


def sysctl_line(key: str, value: int) -> str:
    """Set it now, and at every start of the machine."""
    return f"sysctl -w {key}={value} && echo '{key} = {value}' >> /etc/sysctl.d/90-treecast.conf"


@dataclass(frozen=True, slots=True)
class Limit:
    """The sysctl that limits, and its value; None where this kernel names none."""

    key: str
    value: int | None


def lowest(*limits: Limit) -> Limit:
    """The one that applies."""
    told = [one for one in limits if one.value is not None]
    return min(told, key=lambda one: one.value or 0, default=limits[0])


def judge_watches(limited: Limit, size: TreeSize) -> Finding:
    """One watch for each directory."""
    limit, key = limited.value, limited.key
    if limit is None:
        return note("watches", f"not checked: this kernel has no {key}")
    found = f"{key} is {limit:,}, for {size}"
    needed = max(1, size.directories) if size.is_whole else size.directories * 2
    if size.directories > limit:
        return warning(
            "watches",
            found,
            "one for each directory; of the others only scans see what changes",
            sysctl_line(key, _advised(needed)),
        )
    if needed * WATCHES_SPARE > limit:
        return note("watches", found, "some to spare", sysctl_line(key, _advised(needed)))
    return well("watches", found)


def _advised(needed: int) -> int:
    """Room for twice as many, in a round number."""
    return max(WATCHES_ADVISED, 1 << (2 * needed - 1).bit_length())


def judge_instances(limited: Limit, refusal: str) -> Finding:
    """`refusal`: why this process got no inotify instance just now; "" if it got one."""
    limit, key = limited.value, limited.key
    if refusal:
        return warning(
            "instances",
            f"no watch can be had: {refusal}; {key} is {limit}",
            "an instance for the producer; without one only scans see what changes",
            sysctl_line(key, max(INSTANCES_ADVISED, 2 * (limit or 0))),
        )
    return well("instances", f"there is one to be had; {key} is {limit if limit is not None else 'not told'}")


def judge_events(limit: int | None, size: TreeSize) -> Finding:
    """What the kernel keeps while the producer is busy. Beyond that the whole tree is scanned, which costs its size."""
    if limit is None:
        return note("events", "not checked: this kernel names no limit")
    found = f"{EVENTS} is {limit:,}"
    todo = sysctl_line(EVENTS, EVENTS_ADVISED)
    if limit < EVENTS_LEAST:
        return warning("events", found, f"{EVENTS_LEAST:,}; a burst over it has the whole tree scanned", todo)
    if size.directories > limit:
        return note("events", f"{found}, for {size}", "more; a burst over it has the whole tree scanned", todo)
    return well("events", found)


def judge_descriptors(soft: int, whose: str) -> Finding:
    """How many files one process may have open. `whose`: of the running process, or of this shell's."""
    found = f"{soft:,} open files ({whose})"
    if soft < DESCRIPTORS_LEAST:
        needed = f"{DESCRIPTORS_LEAST:,} at least; LimitNOFILE={DESCRIPTORS_ADVISED} in its unit"
        return warning("descriptors", found, needed, f"ulimit -n {DESCRIPTORS_ADVISED}")
    return well("descriptors", found)
