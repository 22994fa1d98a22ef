"""Does: asks this machine who is who, and what this process may give away. Knows the user database, nothing of trees."""

import errno
import grp
import os
import pwd
from functools import lru_cache
from pathlib import Path

from common.errors import SettingError
from common.settings import ConsumeSettings
from consumer.appearance import LEFT, Appearance

GROUP_ALLOWED = "a group of this machine, or its number"
_CAP_CHOWN = 1


def appearance_of(settings: ConsumeSettings) -> Appearance:
    """How this replica shall look. Raises SettingError where this process may not make it so, with what it needs."""
    try:
        gid = LEFT if settings.group is None else group_number(settings.group)
    except ValueError as error:
        raise SettingError("TREECAST_GROUP", settings.group, GROUP_ALLOWED) from error
    check_allowed(settings.owner, gid)
    resolve = resolve_owner if settings.owner != "off" else None
    return Appearance(settings.dir_mode, settings.file_mode, gid, resolve)


def check_allowed(owner: str, gid: int) -> None:
    """Raises SettingError where this process may not set owners or this group, with what it needs."""
    if owner != "off" and not may_give_away():
        allowed = (
            "off; for the others a process that may give files away: root, or AmbientCapabilities=CAP_CHOWN in its unit"
        )
        raise SettingError("TREECAST_OWNER", owner, allowed)
    if gid not in {LEFT, os.getegid(), *os.getgroups()} and not may_give_away():
        allowed = "a group that this process is in (SupplementaryGroups= in its unit), or CAP_CHOWN"
        raise SettingError("TREECAST_GROUP", str(gid), allowed)


def may_give_away() -> bool:
    """Whether this process may change owners: CAP_CHOWN, or root where there are no capabilities."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return os.geteuid() == 0
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) & _CAP_CHOWN)


@lru_cache(maxsize=4096)
def resolve_owner(owner: str) -> tuple[int, int]:
    """User and group number of "user:group"; numbers as they are. Raises OSError where this machine has no such name.

    An answer is remembered until the process ends; that a name is missing is asked again each time.
    """
    user, _, group = owner.partition(":")
    try:
        uid = int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise _nobody("user", user) from None
    try:
        return uid, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise _nobody("group", group) from None


def _nobody(what: str, name: str) -> OSError:
    return OSError(errno.EINVAL, f"this machine has no {what} {name!r}: make it here, or have the master carry numbers")


def group_number(name: str) -> int:
    """The number of a group of this machine; a number as it is. Raises ValueError where there is none of that name."""
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(GROUP_ALLOWED) from None
