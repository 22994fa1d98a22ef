"""Does: asks this machine what owners are called. Knows the user database, nothing of trees.

What is asked once is remembered until the process ends: a user that is renamed is called by the new name after a restart.
"""

import grp
import pwd
from collections.abc import Mapping
from functools import lru_cache

from common.names import is_owner
from producer.carrying import OwnerOf


@lru_cache(maxsize=65_536)
def numeric_owner(uid: int, gid: int) -> str:
    """User and group as numbers."""
    return f"{uid}:{gid}"


@lru_cache(maxsize=65_536)
def named_owner(uid: int, gid: int) -> str:
    """User and group as names; a number stays where there is no name, or none that can be carried."""
    return f"{_user(uid)}:{_group(gid)}"


def _user(uid: int) -> str:
    try:
        return _carried(pwd.getpwuid(uid).pw_name, uid)
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return _carried(grp.getgrgid(gid).gr_name, gid)
    except KeyError:
        return str(gid)


def _carried(name: str, number: int) -> str:
    """A name that is all digits would read as a number on the other side."""
    return name if is_owner(f"{name}:0") and not name.isdecimal() else str(number)


OWNERS_OF: Mapping[str, OwnerOf | None] = {"off": None, "numeric": numeric_owner, "name": named_owner}
"""By the word of the setting `owner`."""
