"""Does: judges what `mirror` was given, before anything is made: directories, how they lie to each other, the state's place.

Every refusal is a SettingError that names the argument as typed. Makes nothing.
"""

import os
import re
from pathlib import Path

from common.errors import SettingError
from common.names import escape
from common.places import check_directory, state_root
from common.transport.urls import EmbeddedUrl, parse_url
from treecast.mirroring.layout import Layout, key_of, make_layout

_REMOTE = re.compile(r"[^/]*:")
"""As rsync has it: a colon before the first slash names another machine."""
_WAYS = (
    "a directory of this machine. To reach another one, run `treecast produce` here and `treecast consume` there with RabbitMQ"
    " between them (README, three machines), or mount its directory here. A directory of this name here is ./{}"
)


def judge_arguments(source: str, replicas: list[str], state: Path | None) -> Layout:
    """The layout of a mirror that may be run. A replica that is not there is fine if its parent is."""
    for argument, given in [("SOURCE", source), *(("REPLICA", replica) for replica in replicas)]:
        _check_local(argument, given)
    real_source = _real(source)
    check_directory("SOURCE", real_source)
    places = [(replica, _real(replica)) for replica in replicas]
    for replica, target in places:
        _check_replica(replica, target)
    _check_places(real_source, places)
    home = _real(str(state)) if state is not None else default_mirror_state(real_source)
    layout = make_layout((source, real_source), places, home)
    _check_state(layout, is_given=state is not None)
    return layout


def default_mirror_state(source: Path) -> Path:
    """Where a mirror of this source keeps its state unless told."""
    return Path(os.path.realpath(state_root())) / "mirror" / key_of(source)


def _real(given: str) -> Path:
    return Path(os.path.realpath(given))


def _check_local(argument: str, given: str) -> None:
    if _REMOTE.match(given):
        raise SettingError(argument, given, _WAYS.format(escape(os.fsencode(given))))
    if not given or "\0" in given:
        raise SettingError(argument, given, "the path of a directory")


def _check_replica(given: str, target: Path) -> None:
    if os.path.lexists(target):
        check_directory("REPLICA", target)
    elif not os.path.isdir(target.parent):
        raise SettingError(
            "REPLICA", given, f"a directory, or one to be made in a directory that is there: {target.parent}"
        )


def _check_places(source: Path, replicas: list[tuple[str, Path]]) -> None:
    seen: list[tuple[str, Path]] = []
    for given, target in replicas:
        _check_apart_from("the source", source, given, target)
        for other_given, other in seen:
            if other == target:
                raise SettingError("REPLICA", given, f"each replica once; {other_given} is the same directory")
            _check_apart_from(other_given, other, given, target)
        seen.append((given, target))


def _check_apart_from(what: str, other: Path, given: str, target: Path) -> None:
    if target.is_relative_to(other) or other.is_relative_to(target):
        raise SettingError("REPLICA", given, f"a directory that does not lie in {what}, nor {what} in it")


def _check_state(layout: Layout, *, is_given: bool) -> None:
    """The queue lies in the state: a tree that holds it would replicate its own changes for ever."""
    for root in [layout.source, *(place.target for place in layout.replicas)]:
        if layout.state.is_relative_to(root) or root.is_relative_to(layout.state):
            allowed = f"a directory that does not lie in {root}, nor {root} in it"
            raise SettingError("--state", str(layout.state), allowed if is_given else f"{allowed}: pass --state DIR")
    try:
        is_right = isinstance(parse_url(layout.broker), EmbeddedUrl)
    except SettingError:
        is_right = False
    if not is_right:
        raise SettingError("--state", str(layout.state), "an absolute path without ? and #")
