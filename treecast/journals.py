"""Does: finds the journal of a producer of this machine, whether it runs or not. Reads nothing in it."""

import os
from collections.abc import Mapping
from pathlib import Path

from common.control import running
from common.errors import SettingError, UnreachableError
from common.places import default_state, state_root
from producer.journal_schema import JOURNAL_NAME

_PRODUCER = "producer"
_PLACES = (JOURNAL_NAME, f"*/{_PRODUCER}/{JOURNAL_NAME}", f"mirror/*/{_PRODUCER}/{JOURNAL_NAME}")
"""Below the directory of all states: a service's own, those of producers, those of mirrors."""


def find_journal(state: Path | None, tree: str | None, environ: Mapping[str, str], *, command: str = "log") -> Path:
    """The journal in this state directory (or TREECAST_STATE); else of the producer that runs here, of this tree if told; else
    the one that a producer left here.

    Raises SettingError when there is none where it was told to be, or several; UnreachableError when none is found.
    """
    told = state if state is not None else Path(environ["TREECAST_STATE"]) if environ.get("TREECAST_STATE") else None
    if told is not None:
        return _journal_in(told)
    found = _of_running(tree, environ) or _left_behind(tree, environ)
    if len(found) > 1:
        raise SettingError("--state", "several journals", f"one of {', '.join(str(one.parent) for one in found)}")
    if not found:
        raise UnreachableError(f"no producer's journal is found here; try: treecast {command} --state DIRECTORY")
    return found[0]


def _journal_in(state: Path) -> Path:
    journal = state / JOURNAL_NAME
    if not os.access(journal, os.R_OK):
        raise SettingError(
            "--state", str(state), "the state directory of a producer that ran, which this user may read"
        )
    return journal


def _of_running(tree: str | None, environ: Mapping[str, str]) -> list[Path]:
    wanted = f".{_PRODUCER}" if tree is None else f"{tree}.{_PRODUCER}"
    return [one.state / JOURNAL_NAME for one in running(environ) if one.name.endswith(wanted)]


def _left_behind(tree: str | None, environ: Mapping[str, str]) -> list[Path]:
    if tree is not None:
        return [one for one in [default_state(tree, _PRODUCER, environ)[0] / JOURNAL_NAME] if one.is_file()]
    return [one for place in _PLACES for one in sorted(state_root().glob(place)) if one.is_file()]
