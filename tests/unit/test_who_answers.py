"""Who is asked of several processes on one machine, and what becomes of those that do not answer."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from common.control import ControlClient
from common.errors import UnreachableError
from treecast.asking import all_told, told_by


@dataclass
class Twin:
    status: dict[str, Any] = field(default_factory=dict)

    def ask(self, _: str) -> dict[str, Any]:
        if not self.status:
            raise UnreachableError("hangs")
        return self.status


def run_here(monkeypatch: pytest.MonkeyPatch, *twins: Twin) -> None:
    monkeypatch.setattr(ControlClient, "find_all", lambda *_: [("", cast("ControlClient", one)) for one in twins])


def test_one_that_hangs_keeps_nobody_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch, Twin(), Twin({"role": "producer"}))
    told, silent = told_by(None, "", "")
    assert told == [{"role": "producer"}]
    assert list(map(str, silent)) == ["hangs"]


def test_where_none_answers_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run_here(monkeypatch, Twin(), Twin())
    with pytest.raises(UnreachableError, match="hangs"):
        all_told(None, "", lambda one: one.ask("status"))
